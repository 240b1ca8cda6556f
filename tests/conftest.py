"""The browser of a process, which tests are slow, and in which order files go to the processes."""

import shutil

import pytest
from playwright.sync_api import Error, sync_playwright

# Files go to the processes in this order, those of many seconds first, so that no process is left with one at the
# end. The built pages come before all: they are looked at as they are only while no source has changed since.
FIRST = (
    "test_book.py", "test_notebooks_in_jupyter.py", "test_own_weights.py", "test_classkit.py", "05-arithmetic.ipynb", "04-forgetting.ipynb",
    "03-features.ipynb", "02-walking.ipynb", "01-training.ipynb", "test_measure.py", "test_panels.py",
    "test_engines.py", "test_panels_in_jupyter.py", "test_command.py", "test_processes.py", "test_annotate.py",
)  # fmt: skip
# What a quick look leaves out: notebooks, these files, tests with one of these fixtures, and those of over a second.
SLOW_FILES = {
    "test_book.py",
    "test_odd.py",
    "test_own_weights.py",
    "test_panels_in_jupyter.py",
    "test_notebooks_in_jupyter.py",
    "test_memory.py",
}
SLOW_FIXTURES = {"browser", "dressed", "graded_course", "held_out", "portraits", "two"}
SLOW = {
    "test_a_build_asks_nobody_for_the_weights_that_do_not_come_with_the_book",
    "test_a_collapse_names_the_step_the_last_good_sheet_and_the_best",
    "test_a_folder_that_cannot_be_made",
    "test_a_killed_command_goes_on_to_the_same_bits",
    "test_a_killed_run_is_gone_on_with_and_ends_in_the_same_bytes",
    "test_a_polite_end_keeps_every_step",
    "test_a_resumed_run_with_falling_rates_has_the_bits_of_an_unbroken_one",
    "test_a_run_among_its_own_images_trains_on_none_of_its_sheets",
    "test_a_run_that_is_resumed_does_not_take_a_worse_one_for_the_best",
    "test_a_run_of_a_compiled_pair_loads_and_is_exported",
    "test_a_run_to_its_end_is_the_unwatched_one",
    "test_a_step_is_that_of_the_plain_loop",
    "test_a_stopped_run_goes_on_to_the_same_bits",
    "test_a_stopped_training_goes_on_to_the_same_weights",
    "test_states_of_wrapped_networks_of_ours_are_read",
    "test_batches_of_millions_of_images_take_little_memory",
    "test_both_are_in_eval_mode_and_only_an_input_takes_gradients",
    "test_boxes_are_refitted_and_drawn_anew_after_every_change",
    "test_copies_are_left_out_and_originals_stay",
    "test_damaged_faces_say_what_is_still_there",
    "test_damaged_rooms_say_what_is_still_there",
    "test_each_network_learns_from_its_own_loss_alone",
    "test_epochs_are_counted_in_the_steps_of_these_images",
    "test_images_of_another_size_train_with_networks_of_that_size",
    "test_in_a_notebook_both_are_in_the_output_and_the_state_is_saved",
    "test_masks_agree_with_the_factors",
    "test_nine_sums_take_a_moment",
    "test_no_film_has_more_than_its_bytes",
    "test_pictures_come_at_the_first_step_every_few_and_the_last",
    "test_processes_that_start_together_decode_once",
    "test_r1_is_added_to_ds_gradient_and_to_nothing_else",
    "test_rates_are_within_their_binomial_interval",
    "test_scores_are_written_into_the_card",
    "test_slider_to_picture_takes_a_moment",
    "test_standardised_weights_do_not_depend_on_a_units_scale",
    "test_students_get_exercises_without_answers",
    "test_the_alarm_changes_no_bit_and_a_resumed_run_has_its_numbers",
    "test_the_benchmark_prints_both_rates_their_ratio_and_where_the_time_goes",
    "test_the_best_is_kept_exported_and_gone_on_with",
    "test_the_build_writes_what_the_pages_ask_for",
    "test_the_command_accepts_what_a_chapter_finds",
    "test_the_command_ends_with_1_and_one_line",
    "test_the_head_fills_three_quarters_of_the_frame",
    "test_the_instrument_sees_most_windows_that_were_boxed",
    "test_the_module_is_the_command",
    "test_the_networks_are_those_trained_within_the_error_of_fp16",
    "test_the_probe_chooses_and_says",
    "test_the_same_images_are_gone_on_with_wherever_they_are",
    "test_the_traps_of_the_step_are_as_the_chapter_says",
    "test_tiles_of_units_are_light",
    "test_turning_moves_near_parts_more_than_far_ones_and_steadily",
    "test_twenty_kills_at_random_moments_change_no_bit",
    "test_weights_are_small_and_named_by_what_they_are",
    "test_what_cannot_be_exported",
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
