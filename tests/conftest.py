"""One browser for all tests: two at once do not go with Playwright's plain interface."""

import shutil

import pytest
from playwright.sync_api import Error, sync_playwright


@pytest.fixture(scope="session")
def browser():
    options = {"args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]}
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), **options)
        except Error as error:
            remedy = "install Debian's, or run 'playwright install chromium'"
            pytest.fail(f"no Chromium to open the pages with: {remedy} ({error})")
        yield browser
        browser.close()
