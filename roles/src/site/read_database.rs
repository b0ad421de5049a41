//! Reading of what the document says about databases.

use std::collections::BTreeMap;

use super::database::{DatabaseCluster, Durability};
use super::report::Report;
use crate::words::SqlName;
use crate::yaml::Value;

impl Report {
    /// `None`: it is not even a mapping.
    pub(super) fn database(&mut self, value: &Value) -> Option<DatabaseCluster> {
        let fields = self.fields("database", value, &["durability", "databases"])?;
        let durability = fields.get("durability");
        let durability = durability.and_then(|value| self.durability(value));
        let databases = fields.get("databases");
        Some(DatabaseCluster {
            durability: durability.unwrap_or_default(),
            databases: databases.map_or_else(BTreeMap::new, |value| self.databases(value)),
        })
    }

    fn durability(&mut self, value: &Value) -> Option<Durability> {
        let path = "database.durability";
        let text = self.text(path, value)?;
        let found = Durability::ALL.into_iter().find(|it| it.name() == text);
        if found.is_none() {
            self.unknown(
                path,
                "durability",
                text,
                Durability::ALL.map(Durability::name),
            );
        }
        found
    }

    fn databases(&mut self, value: &Value) -> BTreeMap<SqlName, SqlName> {
        let mut databases = BTreeMap::new();
        let entries: Vec<(SqlName, _, _)> = self.entries("database.databases", value);
        let (count, most) = (entries.len(), DatabaseCluster::MOST_DATABASES);
        if count > most {
            let message = format!("{count} databases, and {most} are the most");
            self.error("database.databases", message, None);
        }
        for (name, path, value) in entries {
            self.free(&path, &name);
            let Some(fields) = self.fields(&path, value, &["owner"]) else {
                continue;
            };
            let path = format!("{path}.owner");
            let owner: Option<SqlName> = match fields.get("owner") {
                Some(value) => self.name(&path, value),
                None => Some(name.clone()),
            };
            if let Some(owner) = owner {
                if owner != name {
                    self.free(&path, &owner);
                }
                databases.insert(name, owner);
            }
        }
        databases
    }

    fn free(&mut self, path: &str, name: &SqlName) {
        let text = name.as_ref();
        if DatabaseCluster::TAKEN.contains(&text) || text.starts_with("pg_") {
            let message = format!("`{name}` is a name of PostgreSQL's own");
            self.error(path, message, Some("choose another one".to_owned()));
        }
    }
}
