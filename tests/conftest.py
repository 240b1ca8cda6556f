"""The browser of a process, which tests are slow, and in which order files go to the processes."""

import shutil

import pytest
from playwright.sync_api import Error, sync_playwright

# Files go to the processes in this order, those of many seconds first, so that no process is left with one at the
# end. The built pages come before all: they are looked at as they are only while no source has changed since.
FIRST = (
    "test_book.py", "test_own_weights.py", "test_classkit.py", "05-arithmetic.ipynb", "04-forgetting.ipynb",
    "03-features.ipynb", "02-walking.ipynb", "01-training.ipynb", "test_measure.py", "test_panels.py",
    "test_panels_in_jupyter.py", "test_command.py", "test_processes.py", "test_annotate.py",
)  # fmt: skip
# What a quick look leaves out: notebooks, these files, tests with one of these fixtures, and those of over a second.
SLOW_FILES = {"test_book.py", "test_own_weights.py", "test_panels_in_jupyter.py", "test_memory.py"}
SLOW_FIXTURES = {"browser", "two", "held_out", "portraits"}
SLOW = {
    "test_a_killed_command_goes_on_to_the_same_bits",
    "test_a_killed_run_is_gone_on_with_and_ends_in_the_same_bytes",
    "test_a_polite_end_keeps_every_step",
    "test_a_stopped_training_goes_on_to_the_same_weights",
    "test_a_student_runs_a_chapter_up_to_the_first_empty_answer",
    "test_a_student_with_a_right_answer_passes_and_a_wrong_one_does_not",
    "test_copies_run_what_the_chapter_runs",
    "test_damaged_faces_say_what_is_still_there",
    "test_damaged_rooms_say_what_is_still_there",
    "test_in_a_notebook_both_are_in_the_output_and_the_state_is_saved",
    "test_masks_agree_with_the_factors",
    "test_nine_sums_take_a_moment",
    "test_no_film_has_more_than_its_bytes",
    "test_processes_that_start_together_decode_once",
    "test_slider_to_picture_takes_a_moment",
    "test_standardised_weights_do_not_depend_on_a_units_scale",
    "test_the_benchmark_prints_both_rates_their_ratio_and_where_the_time_goes",
    "test_the_book_of_solutions_is_open_and_runs",
    "test_the_command_ends_with_1_and_one_line",
    "test_the_module_is_the_command",
    "test_the_probe_chooses_and_says",
    "test_turning_moves_near_parts_more_than_far_ones_and_steadily",
    "test_twenty_kills_at_random_moments_change_no_bit",
    "test_what_is_trained_is_what_loads",
    "test_worker_count_and_cache_change_nothing",
}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    for item in items:
        slow = item.path.suffix == ".ipynb" or item.path.name in SLOW_FILES
        fixtures = SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
        if slow or fixtures or getattr(item, "originalname", item.name) in SLOW:
            item.add_marker("slow")
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


@pytest.fixture(scope="session")
def browser():
    """One for all tests of a process: two at once do not go with Playwright's plain interface."""
    options = {"args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]}
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), **options
            )
        except Error as error:
            remedy = "install Debian's, or run 'playwright install chromium'"
            pytest.fail(f"no Chromium to open the pages with: {remedy} ({error})")
        yield browser
        browser.close()
