"""Runs cells on the installed kernel, through its kernelspec: a result, C's standard output, and an error."""

import nbclient
import nbformat

CELLS = [
    "import callboard\ncallboard.__version__",
    "import os\nos.write(1, b'from C\\n');",
    "1 / 0",
]

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
nbclient.NotebookClient(notebook, kernel_name="callboard", allow_errors=True, timeout=60).execute()

version, written, error = (cell.outputs for cell in notebook.cells)
assert version[0].output_type == "execute_result", version
assert written[0].text == "from C\n", written
assert error[0].ename == "ZeroDivisionError", error
