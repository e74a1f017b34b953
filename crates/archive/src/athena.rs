//! The tables of `infra/athena/tables.sql`, and the same as Glue resources in `infra/template.yaml`.

use std::fmt::Write;

use crate::schema::{Column, ColumnType, INFERENCES, OUTCOMES, PREDICTIONS, SHADOWS};

/// What stands for the lake's bucket.
const BUCKET: &str = "LAKE_BUCKET";
/// Partitions before it are not looked for.
const FIRST_DAY: &str = "2015-01-01";

impl ColumnType {
    /// The type's name in Hive's language, which Athena and Glue speak.
    fn hive(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int32 => "int",
            Self::Int64 => "bigint",
            Self::Float64 => "double",
            Self::FloatList => "array<double>",
            Self::TimestampUtc => "timestamp",
        }
    }
}

/// The text of `infra/athena/tables.sql`: one external table per family, its partitions projected from the keys' layout, so
/// that there is no catalogue to keep up with.
pub(crate) fn tables_sql() -> String {
    let mut text = format!(
        "-- The archive's tables for Athena. Generated from crates/archive/src/schema.rs; `UPDATE_SCHEMA=1 cargo test -p archive`\n\
         -- writes it anew. Put the lake's bucket in place of {BUCKET}. Times are UTC; `dt` and `hour` are event time.\n\
         -- A query of predictions or inferences names its model (`WHERE model = '…'`); any query is cheaper with `dt`.\n"
    );
    for (name, by_model, columns) in TABLES {
        _ = write!(text, "\n{}", table_sql(name, by_model, columns));
    }
    text
}

/// Name, whether the path has the model, and columns.
const TABLES: [(&str, bool, &[Column]); 4] = [
    ("predictions", true, PREDICTIONS),
    ("shadows", true, SHADOWS),
    ("outcomes", false, OUTCOMES),
    ("inferences", true, INFERENCES),
];

/// The tables as resources of CloudFormation, for the template.
pub(crate) fn glue_tables() -> String {
    TABLES.iter().map(|(name, by_model, columns)| glue_table(name, *by_model, columns)).collect()
}

fn glue_table(name: &str, by_model: bool, columns: &[Column]) -> String {
    let bucket = "${AWS::StackName}-lake-${AWS::AccountId}";
    let mut title = name.to_owned();
    title[..1].make_ascii_uppercase();
    let (key, folder, injected) = if by_model {
        (
            "          - { Name: model, Type: string }\n",
            "model=${!model}/",
            "          projection.model.type: injected\n",
        )
    } else {
        ("", "", "")
    };
    let mut text = format!(
        "  {title}Table:\n    Type: AWS::Glue::Table\n    Properties:\n      CatalogId: !Ref AWS::AccountId\n      DatabaseName: !Ref \
         ArchiveDatabase\n      TableInput:\n        Name: {name}\n        TableType: EXTERNAL_TABLE\n        PartitionKeys:\n{key}          - {{ \
         Name: dt, Type: string }}\n          - {{ Name: hour, Type: string }}\n        Parameters:\n          classification: parquet\n          \
         projection.enabled: \"true\"\n{injected}          projection.dt.type: date\n          projection.dt.format: yyyy-MM-dd\n          \
         projection.dt.range: {FIRST_DAY},NOW+1DAY\n          projection.dt.interval: \"1\"\n          projection.dt.interval.unit: \
         DAYS\n          projection.hour.type: integer\n          projection.hour.range: 0,23\n          projection.hour.digits: \"2\"\n          \
         storage.location.template: !Sub \
         \"s3://{bucket}/archive/{name}/{folder}dt=${{!dt}}/hour=${{!hour}}/\"\n        StorageDescriptor:\n          Location: !Sub \
         \"s3://{bucket}/archive/{name}/\"\n          InputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat\n          \
         OutputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat\n          SerdeInfo: {{ SerializationLibrary: \
         org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe }}\n          Columns:\n"
    );
    for Column { name, column_type, .. } in columns {
        _ = writeln!(text, "            - {{ Name: {name}, Type: {} }}", column_type.hive());
    }
    text.push('\n');
    text
}

fn table_sql(name: &str, by_model: bool, columns: &[Column]) -> String {
    let mut text = format!("CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n");
    for (index, Column { name, column_type, doc, .. }) in columns.iter().enumerate() {
        let comma = if index + 1 < columns.len() { "," } else { "" };
        let doc = doc.replace('`', "").replace('\'', "''");
        _ = writeln!(text, "  `{name}` {} COMMENT '{doc}'{comma}", column_type.hive());
    }
    let (partition, folder, projection) = if by_model {
        ("`model` string, ", "model=${model}/", "  'projection.model.type' = 'injected',\n")
    } else {
        ("", "", "")
    };
    _ = write!(
        text,
        ")\nPARTITIONED BY ({partition}`dt` string, `hour` string)\n\
         STORED AS PARQUET\n\
         LOCATION 's3://{BUCKET}/archive/{name}/'\n\
         TBLPROPERTIES (\n  \
           'projection.enabled' = 'true',\n{projection}  \
           'projection.dt.type' = 'date',\n  \
           'projection.dt.format' = 'yyyy-MM-dd',\n  \
           'projection.dt.range' = '{FIRST_DAY},NOW+1DAY',\n  \
           'projection.dt.interval' = '1',\n  \
           'projection.dt.interval.unit' = 'DAYS',\n  \
           'projection.hour.type' = 'integer',\n  \
           'projection.hour.range' = '0,23',\n  \
           'projection.hour.digits' = '2',\n  \
           'storage.location.template' = 's3://{BUCKET}/archive/{name}/{folder}dt=${{dt}}/hour=${{hour}}/'\n);\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use domain::lake::{self, Partition, Table};

    use super::*;

    #[test]
    fn tables_sql_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/athena/tables.sql");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, tables_sql()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == tables_sql(), "tables.sql is stale; run `UPDATE_SCHEMA=1 cargo test -p archive`");
    }

    #[test]
    fn the_templates_tables_are_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/template.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("(UPDATE_SCHEMA=1 cargo test -p archive).\n", "  # End of what is generated.\n");
        let (before, rest) = text.split_once(begin).unwrap();
        let (stored, after) = rest.split_once(end).unwrap();
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, format!("{before}{begin}{}{end}{after}", glue_tables())).unwrap();
        } else {
            assert!(stored == glue_tables(), "template.yaml is stale; run `UPDATE_SCHEMA=1 cargo test -p archive`");
        }
    }

    /// What a deployment saves as a query is what `.ci/read-archive` runs over an archive.
    #[test]
    fn the_templates_views_are_those_of_views_sql() {
        let read =
            |path: &str| std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let view_after = |text: &str, name: &str| {
            let (_, view) = text.split_once(&format!("CREATE OR REPLACE VIEW {name} AS\n"))?;
            let (view, _) = view.split_once(';')?;
            Some(view.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>())
        };
        let (views, template) = (read("infra/athena/views.sql"), read("infra/template.yaml"));
        let names: Vec<_> = views
            .lines()
            .filter_map(|line| line.strip_prefix("CREATE OR REPLACE VIEW ")?.strip_suffix(" AS"))
            .collect();
        assert!(names.len() > 1);
        for name in names {
            assert_eq!(view_after(&template, name), view_after(&views, name), "{name}");
            assert!(view_after(&views, name).is_some(), "{name} has no end");
        }
    }

    #[test]
    fn projected_partitions_are_where_hour_files_are() {
        let hour = "2026-01-31T07".parse().unwrap();
        let model: domain::ModelName = "pickup-eta".parse().unwrap();
        for table in [
            Table::Predictions(model.clone()),
            Table::Shadows(model.clone()),
            Table::Outcomes,
            Table::Inferences(model),
        ] {
            let key = lake::hour_file(&Partition { table, hour });
            let found = tables_sql().lines().filter(|line| line.contains("storage.location.template")).any(|line| {
                let place = line.split("s3://LAKE_BUCKET/").nth(1).unwrap().trim_end_matches('\'');
                let place =
                    place.replace("${model}", "pickup-eta").replace("${dt}", "2026-01-31").replace("${hour}", "07");
                key.starts_with(&place)
            });
            assert!(found, "{key}");
        }
    }
}
