# Nightjar's commands; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-airflow test-spark test-code test-examples test-services test-long test-nights test-servers versitygw lint format docs up down env lock
BIN := .venv/bin
AIRFLOW := tests/services/test_nights.py
SPARK := tests/spark_jobs
# Those that compare with nights on disk; first what waits more than it works, beside the others' longest work.
NIGHTS := $(patsubst %,tests/services/test_%.py,kills backfills postgres_night mlflow_down)

help: ## List the commands.
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready: requirements.txt pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

demo: .venv/.ready ## Land the demo data, load its history, run one night through Airflow, show the release.
	@$(BIN)/nightjar demo

test: ## Run all tests, real nights through Airflow among them.
	@$(MAKE) --no-print-directory --jobs 3 --keep-going test-airflow test-spark test-code

test-airflow: .venv/.ready # those through Airflow, which wait more than they work
	@$(BIN)/pytest $(AIRFLOW)

test-spark: .venv/.ready # those of the jobs, in one Spark; as long as all others
	@$(BIN)/pytest $(SPARK)

test-code: .venv/.ready # all others
	@$(BIN)/pytest $(addprefix --ignore=,$(AIRFLOW) $(SPARK))

test-examples: .venv/.ready ## Run the examples of config on samples of their layouts, from files to lists.
	@$(BIN)/pytest -m example tests/samples

test-services: ## Run the tests on real servers (S3, PostgreSQL, MLflow): nights, a backfill, kills, faults.
	@$(MAKE) --no-print-directory --jobs 2 --keep-going test-nights test-servers

test-long: ## Run those on real servers that take long: every kill, every cut, long backfills, sizes.
	@$(MAKE) --no-print-directory --jobs 2 --keep-going test-nights test-servers CHOSEN="services and long"

CHOSEN := services and not long
test-nights: .venv/.ready versitygw # one half of them
	@$(BIN)/pytest -m "$(CHOSEN)" $(NIGHTS)

test-servers: .venv/.ready versitygw # the other half
	@$(BIN)/pytest -m "$(CHOSEN)" $(addprefix --ignore=,$(NIGHTS))

versitygw: $(BIN)/versitygw ## Build the S3 server versitygw into .venv/bin.
$(BIN)/versitygw: scripts/versitygw.sh | .venv/.ready
	@sh scripts/versitygw.sh

lint: .venv/.ready ## Check style, types, imports and spelling.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: .venv/.ready ## Format the code and mend what ruff can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.ready ## Make docs/settings.md and config/nightjar.schema.json anew, after a change of a setting.
	@$(BIN)/python -m nightjar.command.reference
	@$(BIN)/python -m nightjar.command.schema

up: .venv/.ready ## Start Airflow with its UI on 127.0.0.1; prints the address and the password.
	@$(BIN)/nightjar up

down: .venv/.ready ## Stop Airflow.
	@$(BIN)/nightjar down

env: ## Make .env with new secrets for docker-compose.yaml.
	@sh scripts/env.sh

lock: .venv/.ready ## Resolve requirements.in into requirements.txt for Python 3.11 to 3.13.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make lock" requirements.in -o requirements.txt
