# SPDX-License-Identifier: Apache-2.0
"""Words of chest radiograph reports."""

from __future__ import annotations

from .chest_places import LOCATIONS, SIDES
from .lexicon import Lexicon

_BE = (
    r"(?:is|are|appears?|remains?|remain|was|were|has|have been|has been|again|slightly|mildly|moderately|"
    r"borderline|stable|to be|and|both|in|at|the|upper|limits? of|within|,|overall|grossly|again noted|"
    r"persistently)"
)
_HEART = (
    r"(?:heart|cardiac|cardio-?mediastinal|cardiac and mediastinal|cardiac silhouette|"
    r"heart and mediastinum)(?: (?:size|silhouette|shadow|contours?|silhouettes|mediastinal|and|pulmonary|"
    r"vascularity|vasculature|mediastinum|hilar|structures))*"
)
_NORMAL = (
    r"(?:normal|unremarkable|not enlarged|within normal|within limits|intact|upper limits of normal|top normal|"
    r"stable and normal)"
)
_DEGENERATIVE = (
    r"(?:(?:degenerative|hypertrophic|arthritic|spondylotic|osteophytic|spurring|osteophytes?|spondylosis|bony|"
    r"disc|disk|disease|changes?|endplate|multilevel|spurs|marginal|anterior|bridging|small|mild|moderate|"
    r"scattered|diffuse|minimal|early|severe|of|and|space|are|is|present|noted|seen|again|in|throughout|the|"
    r"within|involving|xxxx|along|at|multiple|levels) )*"
)
_DEGENERATED = r"(?:degenerative|spondylosis|osteophytes?|osteophytic|spurring|spurs|hypertrophic|spondylotic)"
_THORACIC = (
    r"(?:(?:mid|lower|upper|visuali[sz]ed|mid-|lower-)+ ?)?(?:thoracic|t-?spine|thoracolumbar|dorsal|"
    r"midthoracic)(?: (?:spine|vertebra[el]?|vertebral bod(?:y|ies)|spondylosis|and lumbar spine|discs?|"
    r"disc spaces?))?"
)

CHEST = Lexicon(
    name="chest radiograph",
    findings={
        "opacity": (
            r"(?:airspace |air space |air-space |interstitial |parenchymal |nodular |patchy |hazy |streaky |"
            r"linear |pulmonary |alveolar |focal |ground-?glass |basilar |bibasilar |lung )*(?:opacit(?:y|ies)|"
            r"opacification|opacifications)",
            r"ground-?glass(?: change| appearance)?s?",
        ),
        "airspace_disease": (r"(?:air-?space|air space|alveolar) (?:disease|process(?:es)?)",),
        "consolidation": (
            r"(?:air-?space |air space |alveolar |lobar |focal |confluent |pulmonary )*consolidat(?:ions?|"
            r"ive (?:changes?|process|opacit(?:y|ies)|lesions?))",
        ),
        "infiltrate": (r"(?:focal |pulmonary |alveolar |interstitial |airspace )*infiltrat(?:es?|ions?)",),
        "pneumonia": (
            r"(?:lobar |atypical |multifocal |aspiration |community-acquired )*(?:pneumonias?|pneumonitis|"
            r"broncho-?pneumonia)",
        ),
        "covid_pneumonia": (
            r"(?:covid(?:[- ]?19)?|sars-cov-2|2019-ncov|novel coronavirus|coronavirus)(?: (?:pneumonia|infection|"
            r"disease))?",
        ),
        "bacterial_pneumonia": (
            r"bacterial (?:pneumonia|infection)",
            r"(?:streptococc\w+|pneumococc\w+|klebsiella|legionella|mycoplasma|staphylococc\w+|"
            r"e\. ?coli)(?: (?:pneumoniae?|infection))?",
        ),
        "viral_pneumonia": (
            r"viral (?:pneumonia|infection|process)",
            r"(?:influenza|varicella)(?: (?:pneumonia|infection))?",
        ),
        "pleural_effusion": (
            r"(?:pleural|parapneumonic|subpulmonic|layering) (?:fluid|effusions?)",
            r"(?<!pericardial )effusions?",
            r"hydropneumothorax",
            r"pleural (?:fluid|liquid)",
        ),
        "pneumothorax": (r"(?:tension |apical )?pneumothora(?:x|ces|xes)",),
        "atelectasis": (
            r"(?:subsegmental |discoid |plate-?like |linear |bibasilar |basilar |basal |compressive |dependent |"
            r"focal )*atelecta(?:sis|ses|tic(?: changes?)?)",
            r"(?:lobar|lung|lobe) collapse",
        ),
        "cardiomegaly": (
            r"cardiomegaly",
            r"borderline (?:heart|cardiac) size",
            rf"(?:enlarged|enlargement of the|mild enlargement of the) (?:{_HEART}|heart)",
            rf"{_HEART} (?:{_BE} )*(?:enlarged|prominent|enlargement)",
            r"cardiac enlargement",
            r"(?:the )?heart (?:is )?(?:again )?(?:mildly |slightly |moderately |markedly |borderline )*enlarged",
        ),
        "calcified_granuloma": (
            r"(?:calcified|calcific) (?:\w+ ){0,4}granulomas?(?:ta)?",
            r"(?:calcified|dense) (?:\w+ )?(?:pulmonary )?nodules?",
            r"granulomas?(?:ta)?(?: \w+){0,4} calcified",
        ),
        "granuloma": (r"granulom(?:as?|ata)",),
        "granulomatous_disease": (r"granulomatous (?:disease|changes?|infection|process|calcifications?)",),
        "atherosclerosis": (
            r"atherosclero(?:sis|tic)(?: (?:vascular|aortic|disease|changes?|calcific\w*|plaques?|and)){0,4}",
            r"(?:thoracic )?(?:aorta|aortic|aortic arch)(?: \w+){0,3} atherosclero\w+(?: calcific\w+)?",
        ),
        "calcification": (
            r"(?:(?:vascular|aortic|arch|mitral|annular|coronary|hilar|pleural|granulomatous|nodal|"
            r"tracheobronchial) )*calcifications?",
            r"calcified(?: (?:\w+ ){0,5}(?:lymph ?nodes?|nodes?|adenopathy|lymphadenopathy|aorta|arch|plaques?|"
            r"hilum|hilar|aortic|atherosclerotic|mediastinal|ligament))?",
            r"calcific(?: \w+)?",
        ),
        "tortuous_thoracic_aorta": (
            r"(?:tortuous|ectatic|unfolded|tortuosity|ectasia|unfolding)(?: \w+){0,5} thoracic aorta",
            r"thoracic aort(?:a|ic) (?:\w+ ){0,4}(?:tortuous|ectatic|unfolded|tortuosity)",
        ),
        "tortuous_aorta": (
            r"(?:tortuous|ectatic|unfolded|uncoiled|tortuosity|ectasia|unfolding|uncoiling)(?: (?:\w+ ){0,5}aorta)?",
            r"aorta (?:\w+ ){0,4}(?:tortuous|ectatic|unfolded|uncoiled|tortuosity)",
        ),
        "enlarged_aorta": (
            r"(?:dilated|aneurysmal|enlarged) (?:\w+ )?aorta",
            r"aort(?:a|ic) (?:\w+ ){0,2}(?:dilat(?:ed|ation)|enlarged|aneurysm|prominent)",
        ),
        "hypoinflation": (
            r"(?:low|decreased|diminished|reduced|small|shallow) (?:lung|inspiratory)? ?(?:volumes?|inspiration|"
            r"inflation|inspiratory effort)",
            r"(?:lungs? |lung volumes? |they )?(?:is |are |appear )?(?:mildly |somewhat |"
            r"slightly )*(?:hypo-?(?:inflat(?:ed|ion)|expanded|aerated|ventilat(?:ed|ion)|aeration|expansion)|"
            r"under-?inflated|underexpanded)",
            r"(?:poor|shallow|suboptimal|low|limited) (?:inspiration|inspiratory \w+|inflation|aeration)",
            r"(?:lung|inspiratory) volumes? (?:are|is|remain|remains|appear) (?:\w+ )?(?:low|decreased|"
            r"diminished|small|reduced)",
            r"shallow lung \w+",
            r"low volumes?",
        ),
        "hyperinflation": (
            r"hyper-?(?:inflat(?:ed|ion)|expanded|expansion|aerat(?:ed|ion)|distention|distended|lucen(?:t|cy))",
            r"(?:increased|large) lung volumes?",
            r"(?:lung )?volumes? (?:are|is) (?:\w+ )?(?:increased|large|high)",
            r"over-?(?:inflat|expan|distend)\w+",
        ),
        "elevated_diaphragm": (
            r"(?:elevat(?:ion|ed)|raised)(?: of)?(?: the)?(?: \w+){0,3} (?:hemi-?diaphragms?|"
            r"diaphragms?|hemidiaphragms?)",
            r"(?:hemi-?)?diaphragms? (?:\w+ ){0,3}(?:elevat(?:ed|ion)|raised|higher)",
        ),
        "eventration": (r"eventration",),
        "flattened_diaphragm": (
            r"flatten(?:ing|ed)(?: of)?(?: the| both| bilateral)?(?: \w+){0,2} (?:hemi-?)?diaphragms?",
            r"(?:hemi-?)?diaphragms? (?:\w+ ){0,3}(?:flatten(?:ed|ing)|flat)",
            r"flat (?:\w+ )?(?:hemi-?)?diaphragms?",
        ),
        "thoracic_degeneration": (
            rf"{_DEGENERATIVE}{_DEGENERATED} {_DEGENERATIVE}{_THORACIC}",
            rf"{_THORACIC} (?:\w+ ){{0,3}}(?:{_DEGENERATED}|degenerative changes?)(?: (?:changes?|disease))?",
        ),
        "spine_degeneration": (
            rf"{_DEGENERATIVE}{_DEGENERATED} {_DEGENERATIVE}(?:spine|vertebra\w*|dis[ck]s?|spinal|dorsal spine)",
            rf"(?:spine|spinal|vertebra\w*|dis[ck]) (?:\w+ ){{0,3}}(?:{_DEGENERATED}|"
            rf"degenerative changes?)(?: (?:changes?|disease))?",
            r"spondylosis",
            r"dis[ck] (?:space )?(?:narrowing|degeneration)",
        ),
        "degeneration": (
            r"(?:degenerative|arthritic) (?:changes?|disease|arthritis|joint disease)",
            r"osteoarthritis",
            r"arthritis",
        ),
        "osteophyte": (r"osteophytes?", r"(?:bony )?spurring"),
        "scoliosis": (
            r"(?:levo|dextro)?scolio(?:sis|tic)(?: curvature)?",
            r"(?:levo|dextro)curvature",
            r"curvature of the (?:\w+ )?spine",
        ),
        "kyphosis": (r"kypho(?:sis|tic)",),
        "deformity": (r"deformit(?:y|ies)", r"wedging", r"compression (?:fracture|deformity)s?"),
        "fracture": (
            r"(?:rib |clavicle |clavicular |compression |vertebral |displaced |healed |old |acute )*fractures?",
        ),
        "osteopenia": (r"osteopeni[ac]", r"osteoporo(?:sis|tic)", r"demineraliz(?:ed|ation)"),
        "scar": (
            r"scar(?:ring|s)?",
            r"fibro(?:sis|tic)(?: changes?)?(?<!pulmonary fibrosis)",
            r"cicatri\w+",
            r"fibro-?nodular (?:\w+)?",
        ),
        "pulmonary_fibrosis": (r"(?:pulmonary|interstitial) fibrosis", r"interstitial lung disease", r"honeycombing"),
        "markings": (
            r"(?:increased|prominent|coarse|coarsened|accentuated|chronic|interstitial|bronchovascular|reticular|"
            r"crowded|irregular|peribronchial|diffuse) (?:\w+ ){0,3}markings",
            r"markings (?:are|appear|remain) (?:\w+ )?(?:prominent|increased|coarse|coarsened|accentuated)",
            r"(?:crowding|prominence|thickening|accentuation|"
            r"coarsening) (?:of )?(?:the )?(?:central )?(?:bronchovascular|interstitial|interstitium|"
            r"pulmonary interstitium|bronchial|lung|pulmonary markings)(?: (?:structures|markings|interstitium))?",
            r"bronchovascular crowding",
            r"(?:interstitial|peribronchial) (?:prominence|thickening|coarsening|cuffing|changes)",
            r"(?:prominent|coarse|chronic|increased|thickened) (?:\w+ )?(?:interstitium|interstitial (?:changes|"
            r"pattern|lung markings|prominence))",
        ),
        "density": (r"(?:nodular |round |rounded )?(?:radio)?densit(?:y|ies)",),
        "nodule": (
            r"(?:pulmonary |lung |solitary |noncalcified |small |nodular )*nodules?",
            r"nodular(?! (?:densit|opacit))(?: \w+)?",
            r"micronodules?",
        ),
        "mass": (
            r"(?:lung |hilar |mediastinal |pulmonary |suspicious )*mass(?:es)?",
            r"(?:lung |pulmonary )?(?:tumou?r|neoplasm|cancer|malignancy)",
        ),
        "pulmonary_oedema": (r"(?:pulmonary |interstitial |alveolar )+o?edema", r"o?edema"),
        "pulmonary_congestion": (
            r"(?:pulmonary |central )?(?:vascular|venous) (?:congestion|engorgement|prominence|redistribution)",
            r"congestive heart failure",
            r"chf",
            r"(?:prominent|engorged|increased) (?:central )?pulmonary vascul\w+",
            r"pulmonary vascul\w+ (?:is|are|appears?) (?:\w+ )?(?:prominent|engorged|congested|increased)",
            r"cephali[sz]ation",
        ),
        "emphysema": (
            r"(?:bullous |centrilobular |subcutaneous )?emphysem(?:a|atous)(?: \w+)?",
            r"bull(?:a|ae|ous)(?: disease)?",
        ),
        "copd": (r"copd", r"chronic obstructive (?:pulmonary|lung) disease", r"obstructive (?:lung|airways?) disease"),
        "thickening": (
            r"(?:pleural|biapical|apical|fissural|paratracheal|bronchial wall) (?:\w+ )?thickening",
            r"thickening of the (?:\w+ )?(?:pleura|fissure)",
            r"pleural (?:plaques?|scarring)",
        ),
        "blunted_angle": (
            r"blunting(?: of)?(?: the)?(?: \w+){0,3}(?: angles?| sulc(?:us|i))?",
            r"blunted(?: \w+){0,3}",
            r"angles? (?:is|are) (?:\w+ )?blunted",
        ),
        "hiatal_hernia": (r"hiatal? hernia", r"diaphragmatic hernia"),
        "hilar_enlargement": (
            r"(?:enlarged|prominent|full|fullness of the|prominence of the) (?:\w+ )?hil(?:a|ar|um)(?: \w+)?",
            r"(?:prominence|fullness) (?:of the )?(?:\w+ ){0,2}hil(?:a|um|ar)",
            r"hil(?:a|um|ar) (?:\w+ )?(?:contour|regions?) (?:are |is )?prominent",
            r"hil(?:a|um|ar) (?:\w+ ){0,2}(?:prominen\w+|enlarge\w+|fullness|adenopathy|lymphadenopathy)",
            r"(?:lymph)?adenopathy",
        ),
        "enlarged_pulmonary_artery": (
            r"(?:enlarged|prominent) (?:\w+ )?pulmonary arter\w+",
            r"pulmonary arter\w+ (?:\w+ ){0,2}(?:enlarge\w+|prominen\w+)",
        ),
        "azygos_lobe": (r"azygos (?:lobe|fissure)",),
        "tuberculosis": (r"tuberculosis", r"tb", r"mycobacterial \w+"),
        "cavity": (r"cavit(?:y|ation|ary(?: \w+)?)",),
        "line_or_tube": (
            r"(?:picc|port-?a-?cath|port|central (?:venous )?(?:line|catheter)|catheters?|endotracheal tube|"
            r"et tube|ng tube|nasogastric tube|enteric tube|tracheostomy(?: tube)?|chest tube|mediport|"
            r"infusion port|ij|dialysis catheter|tubes?)(?: tip)?",
        ),
        "device": (
            r"(?:pacemaker|icd|aicd|defibrillator|pacer|generator|leads?)(?: leads?| generator| device)?",
            r"(?:prosthetic|artificial|mechanical) (?:\w+ )?valve",
            r"valve (?:replacement|prosthesis)",
            r"stents?",
            r"implants?",
            r"loop recorder",
            r"stimulator",
        ),
        "surgical_material": (
            r"(?:surgical |cholecystectomy |vascular |metallic )?(?:clips?|sutures?|staples?)",
            r"(?:median |midline )?sternotomy(?: (?:wires?|xxxx|sutures?|changes))?",
            r"(?:sternal|cerclage) wires?",
            r"(?:fixation|fusion|orthopedic|spinal|surgical) (?:\w+ )?(?:hardware|device|plate|rods?|screws?)",
            r"hardware",
            r"cabg",
            r"postsurgical changes?",
            r"postoperative changes?",
        ),
        "foreign_body": (
            r"foreign bod(?:y|ies)",
            r"bullet(?: fragments?)?",
            r"shrapnel",
            r"metallic (?:\w+ )?(?:fragments?|foreign)",
        ),
        "trauma": (r"contusion", r"dislocation"),
    },
    absent={
        "cardiomegaly": (
            rf"{_HEART} (?:(?:{_BE}|contours?|size|silhouettes?|appearance|for|of|shape|mediastinal|pulmonary|"
            rf"vascul\w+|contour|mediastinum|not|limits|normal) )*{_NORMAL}",
            rf"(?:normal|unremarkable) (?:size of the )?{_HEART}",
            r"normal-sized heart",
        ),
        "opacity": (
            r"(?:the )?(?:lungs?|lung fields|lung zones|both lungs)(?: (?:are|is|appear|appears|remain|fields|"
            r"bilaterally|grossly|otherwise|well|expanded|inflated|aerated|and|otherwise|essentially|both|"
            r"symmetrically|normally|hyperinflated|hyperexpanded))* (?:clear|unremarkable)(?! of)",
            r"clear lungs",
        ),
    },
    locations=LOCATIONS,
    sides=SIDES,
)
