"""The page for browsers as `pocketlm serve` gives it, in Chromium: isolated, with its key."""

import pytest
from browsing import until

from pocketlm.serve.pocket import built

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not built.is_built(), reason="the page for browsers is not built: make web"),
]

KEY = "a key that nobody guesses"


def test_the_page_asks_for_the_key_and_fetches_a_model_with_it(chromium, serve, smollm2):
    server = serve(smollm2, "--host", "0.0.0.0", POCKETLM_API_KEY=KEY)
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    faults, requests = [], []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("request", lambda request: requests.append(request.url))
    page = context.new_page()
    page.goto(f"{server.url}/pocket")
    assert page.url == f"{server.url}/pocket/"
    assert page.evaluate("crossOriginIsolated")  # at once: the server's headers say so
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("This was not the key.").wait_for()
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Download").click()
    page.wait_for_selector("#composer:not([hidden])")
    kept = page.evaluate(
        """async () => {
          const root = await navigator.storage.getDirectory();
          const folder = await root.getDirectoryHandle("pocketlm");
          const sizes = [];
          for await (const handle of folder.values()) sizes.push((await handle.getFile()).size);
          return sizes;
        }"""
    )
    assert smollm2.stat().st_size in kept
    # Without the server the page is there, and its model.
    until(lambda: page.inner_text("#chosen") not in ("No model", "Loading …"))
    server.process.terminate()
    server.process.wait(30)
    page.reload()
    until(lambda: page.inner_text("#chosen") not in ("No model", "Loading …"), 60)
    assert page.get_by_label("Message", exact=True).is_visible()
    assert [url for url in requests if not url.startswith(server.url)] == []
    assert faults == []
    context.close()
