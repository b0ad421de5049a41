//! What a site says about its databases, as a document.

use super::database::{DatabaseCluster, Durability};
use super::print::any_text;

pub(super) fn fields(database: &DatabaseCluster) -> Vec<String> {
    let DatabaseCluster {
        durability,
        databases,
    } = database;
    let mut fields = Vec::new();
    if *durability != Durability::default() {
        fields.push(format!("durability: {durability}"));
    }
    if !databases.is_empty() {
        let databases = databases.iter().map(|(name, owner)| {
            let terms = match name == owner {
                true => String::new(),
                false => format!("owner: {}", any_text(owner.as_ref())),
            };
            format!("{}: {{{terms}}}", any_text(name.as_ref()))
        });
        let databases = databases.collect::<Vec<_>>().join(", ");
        fields.push(format!("databases: {{{databases}}}"));
    }
    fields
}
