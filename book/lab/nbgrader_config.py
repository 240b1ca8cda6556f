"""How nbgrader takes the lab apart; `python -m dcgan_book.teaching lab DIR` puts this beside it."""

c = get_config()  # noqa: F821  nbgrader gives it
c.CourseDirectory.course_id = "inside-a-dcgan"
# what a student finds in the place of an answer; a function of dots is known as not answered
c.ClearSolutions.code_stub = {"python": "..."}
c.ClearSolutions.text_stub = "*Write your verdict here.*"
c.Execute.timeout = 900  # seconds that one cell may take
# files that students send or upload: ada_lab.ipynb is Ada's, and is put into downloaded/lab/archive
c.FileNameCollectorPlugin.named_regexp = r".*[/\\](?P<student_id>[\w.-]+)_(?P<file_id>lab)\.ipynb"
