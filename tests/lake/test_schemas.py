import pytest

from lake import schemas
from lake.feature_spec import FEATURES


@pytest.mark.parametrize("table", schemas.TABLES)
@pytest.mark.parametrize("id_type", ["int64", "string"])
def test_spark_and_arrow_name_the_same_columns(table, id_type):
    ddl = [
        column.split()[0]
        for column in schemas.spark_ddl(table, id_type).replace(",3)", ")").replace(",2)", ")").split(", ")
    ]
    assert ddl == schemas.arrow_schema(table, id_type).names


@pytest.mark.parametrize("table", schemas.TABLES)
def test_every_table_has_a_partition_column_that_is_not_in_its_files(table):
    assert schemas.TABLES[table].partition not in schemas.TABLES[table].columns


def test_ids_have_the_type_of_the_data_set():
    assert "user_id STRING" in schemas.spark_ddl("interactions", "string")
    assert "user_id BIGINT" in schemas.spark_ddl("interactions", "int64")


@pytest.mark.parametrize("table", FEATURES)
def test_features_have_names_of_their_own_and_a_meaning(table):
    names = [feature.name for feature in FEATURES[table]]
    assert len(names) == len(set(names))
    assert all(feature.meaning for feature in FEATURES[table])
