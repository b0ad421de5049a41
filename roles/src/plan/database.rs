//! Databases, as a plan shows them.

use super::Told;
use crate::site::DatabaseCluster;

pub(super) fn cluster(cluster: Option<&DatabaseCluster>) -> Told {
    let Some(cluster) = cluster else {
        return Told::Several(Vec::new());
    };
    let DatabaseCluster {
        durability,
        databases,
    } = cluster;
    let mut told = vec![format!("durability {durability}")];
    let databases = databases.iter();
    told.extend(databases.map(|(name, owner)| format!("{name} of {owner}")));
    Told::Several(told)
}
