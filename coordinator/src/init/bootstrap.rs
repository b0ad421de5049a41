//! What the first start of a coordinator puts into the empty store.

use serde::{Deserialize, Serialize};

use crate::records::{DesiredRecord, OperatorRecord, SiteRecord};

/// The content of `bootstrap.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The site's name and birthday.
    pub site: SiteRecord,
    /// Incarnation 1, generation 1.
    pub desired: DesiredRecord,
    /// The first operator, an admin.
    pub operator: OperatorRecord,
}
