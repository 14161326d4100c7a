# SPDX-License-Identifier: Apache-2.0
"""Words of brain MR reports."""

from __future__ import annotations

from .lexicon import Lexicon

_SEQUENCE = r"(?:(?:t2|flair|t2[-/ ]flair|t2[- ]weighted) )?"
_FOCAL = r"(?:focal |intra-?axial |intracranial |parenchymal |brain |cerebral )*"
_LESION = rf"{_FOCAL}(?:mass lesion|lesion|mass|masse|tumou?r|glioma|neoplasm|foci|focus)s?"

BRAIN_MR = Lexicon(
    name="brain MR",
    findings={
        "lesion": (
            _LESION,
            rf"the (?:larger|largest|smaller|smallest|first|second|third|other|remaining|dominant|"
            rf"latter)(?: (?:one|{_LESION}))?",
            r"another(?: one)?",
            r"(?<=but )one(?= (?:is |lies |seen )?(?:on|in|at) )",
            r"(?:it|they|this|these|each)(?= (?:now |still |again )?(?:is|are|has|have|had|measures?|lies?|occup|"
            r"extends?|involves?|shows?|spans?|fills?|sits?|comprises?))",
            r"(?:its|their)(?= (?:volume|size|long|short|longest|largest|maximum|greatest|diameter|extent))",
            r"tumou?r (?:burden|volume)",
        ),
        "hyperintensity": (
            rf"{_SEQUENCE}(?:hyperintensit(?:y|ies)|hypersignals?|signal (?:abnormalit(?:y|ies)|hyperintensit(?:y|"
            rf"ies)|changes?|increase))",
            rf"(?:high|increased|abnormal|bright) {_SEQUENCE}signal",
        ),
        "oedema": (r"(?:peri-?(?:lesional|tumou?ral|focal) |vasogenic |surrounding |brain )*o?edema", r"swelling"),
        "mass_effect": (
            r"mass effect",
            r"effacement of (?:the )?(?:sulci|ventricles?|adjacent sulci)",
            r"sulcal effacement",
        ),
        "midline_shift": (
            r"(?:shift|displacement|deviation) of (?:the )?midline(?: structures)?",
            r"midline (?:shift|displacement|deviation)",
        ),
        "herniation": (r"(?:uncal |subfalcine |tonsillar |transtentorial )?herniations?",),
        "hydrocephalus": (r"hydrocephalus", r"ventriculomegaly", r"(?:enlarged|dilated) (?:lateral )?ventricles"),
        "haemorrhage": (
            r"(?:intracranial |intra-?tumou?ral )?ha?emorrhages?",
            r"ha?ematomas?",
            r"(?:intracranial )?bleeding",
        ),
        "infarct": (
            r"(?:acute |lacunar )?infarct(?:ion)?s?",
            r"restricted diffusion",
            r"isch(?:a)?emi[ac](?: change)?s?",
        ),
        "enhancement": (r"(?:contrast |ring |rim |nodular |abnormal )*enhancement",),
        "necrosis": (r"necros[ie]s",),
        "atrophy": (r"(?:cerebral |cortical |brain )?atrophy", r"volume loss"),
    },
    absent={
        "lesion": (
            r"(?:the )?(?:brain|cerebral) ?(?:parenchyma|tissue)? (?:is|appears|shows a) (?:entirely |"
            r"completely )?(?:normal|unremarkable)(?: signal| appearance)?",
            r"(?:normal|unremarkable) (?:signal of the )?brain(?: parenchyma)?",
            r"(?:normal|unremarkable) (?:study|examination|scan|mri?)",
            r"hemispheres? (?:is|are|appears?) (?:entirely |completely )?(?:normal|unremarkable|clear)",
            r"(?:lesion|tumou?r)-free",
        ),
        "midline_shift": (
            r"(?:the )?midline (?:structures )?(?:is|are|remains?) (?:central|centred|centered|preserved|in place)",
        ),
        "hydrocephalus": (
            r"(?:the )?ventric(?:les|ular system) (?:is|are) (?:normal|of normal size|not (?:enlarged|dilated))",
        ),
    },
    locations={
        "frontal": (r"(?:pre)?frontal", r"fronto-?(?:parietal|temporal|insular)"),
        "parietal": (r"parietal", r"fronto-?parietal", r"temporo-?parietal", r"parieto-?(?:occipital|temporal)"),
        "temporal": (
            r"temporal",
            r"fronto-?temporal",
            r"parieto-?temporal",
            r"temporo-?(?:parietal|occipital|insular)",
        ),
        "occipital": (r"occipital", r"(?:parieto|temporo)-?occipital"),
        "insular": (r"insular?", r"(?:fronto|temporo)-?insular"),
        "central": (
            r"central(?= (?:and|regions?|parts?|lesion|mass|tumou?r))",
            r"basal ganglia",
            r"deep grey matter",
            r"thalam(?:us|ic)",
        ),
        "cerebellar": (r"cerebell(?:ar|um)(?: hemisphere)?", r"posterior fossa"),
        "brainstem": (r"brain ?stem", r"pons", r"midbrain", r"medulla"),
        "corpus callosum": (r"corpus callosum", r"callosal"),
    },
)
