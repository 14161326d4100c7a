# SPDX-License-Identifier: Apache-2.0
"""What the browser tests do and look at on OHIF's page. Positions on the image are in its pixels, outer edges."""

from playwright.sync_api import Page, expect

TO_PAGE = """([x, y]) => {
  const viewport = cornerstone.getRenderingEngines()[0].getViewport(lesionloop.viewer.image.viewportId);
  const place = viewport.element.getBoundingClientRect();
  const world = viewport.getImageData().imageData.indexToWorld([x - 0.5, y - 0.5, 0]);
  const [left, top] = viewport.worldToCanvas(world);
  return [place.x + left, place.y + top];
}"""
CURRENT_SOP = """() => {
  const viewport = cornerstone.getRenderingEngines()[0].getViewport(lesionloop.viewer.image.viewportId);
  return cornerstone.metaData.get('instance', viewport.getCurrentImageId()).SOPInstanceUID;
}"""
BOXES = """() => cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(one => one.metadata.toolName === 'RectangleROI')
  .map(one => {
    const imageId = one.metadata.referencedImageId;
    const corners = one.data.handles.points.map(p => cornerstone.utilities.worldToImageCoords(imageId, p));
    const x = corners.map(c => c[0]), y = corners.map(c => c[1]);
    return {
      uid: one.annotationUID,
      label: one.data.label,
      sop: cornerstone.metaData.get('instance', imageId).SOPInstanceUID,
      box: [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)],
    };
  })"""
"""Every rectangle in cornerstone's annotation state."""
LESIONS = """() => lesionloop.workspace.session.lesions.map(
  ({ key, label, status, edited, origin, score, boxes }) =>
    ({ key, label, status, edited, origin, score, boxes: Object.fromEntries(boxes) }))"""
SHOWN = """() => window.lesionloop?.workspace?.session && cornerstone.getRenderingEngines()[0]
  ?.getViewport(lesionloop.viewer.image.viewportId)?.getImageData?.()"""
"""The panel knows the image, and the viewport has drawn it."""
IDLE = "() => window.lesionloop?.workspace?.session && !window.lesionloop.workspace.busy"
Point = tuple[float, float]


def on_page(page: Page, point: Point) -> Point:
    """Where a position on the image is on the page."""
    x, y = page.evaluate(TO_PAGE, list(point))
    return float(x), float(y)


def drag(page: Page, start: Point, end: Point) -> None:
    """Drag between two positions on the image."""
    (x0, y0), (x1, y1) = on_page(page, start), on_page(page, end)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2, steps=4)
    page.mouse.move(x1, y1, steps=4)
    page.wait_for_timeout(150)
    page.mouse.up()
    page.wait_for_timeout(400)


def draw(page: Page, start: Point, end: Point) -> None:
    """Draw a box with the panel's tool."""
    page.evaluate("() => lesionloop.workspace.startDrawing()")
    page.wait_for_timeout(200)
    drag(page, start, end)


def open_from_the_list(page: Page, url: str, patient: str, study: str) -> None:
    """As a user: the study list, the patient, the first mode."""
    page.goto(f"{url}/ohif/")
    row = page.get_by_text(patient, exact=True).first
    expect(row).to_be_visible(timeout=60_000)
    row.click()
    page.locator(f'[data-cy="mode-lesionloop-{study}"]').click()
    page.wait_for_function(SHOWN, timeout=120_000)
    page.wait_for_function(IDLE, timeout=120_000)


def find_lesions(page: Page) -> None:
    """Run the models and wait for what they find."""
    page.get_by_test_id("find-lesions").click()
    expect(page.get_by_test_id("finding").first).to_be_visible(timeout=120_000)
    page.wait_for_function(IDLE, timeout=120_000)


def submit(page: Page, user: str) -> None:
    """Enter a name, press Submit and wait until everything is stored."""
    page.get_by_test_id("user-name").fill(user)
    assert page.evaluate("() => lesionloop.workspace.dirty")
    page.get_by_test_id("submit").click()
    page.wait_for_function("() => !window.lesionloop.workspace.dirty", timeout=60_000)
    page.wait_for_function(IDLE, timeout=60_000)
