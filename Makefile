# make          set up .venv and run the demo
# make test     set up .venv and run the tests
# make clean    remove results, logs and synthetic series; .venv, downloaded series and your own data stay
# PYTHON=...    the Python (3.11 or newer) that .venv is made with

PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test clean help

demo: $(READY)
	.venv/bin/snakemake --cores all

test: $(READY)
	.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Made again when the packages or their versions change.
$(READY): pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf results logs .snakemake report.zip resources/dicom/*[!0-9.]*  # UIDs have nothing but digits and points

help:
	@grep '^# ' Makefile | head -4
