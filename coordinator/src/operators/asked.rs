//! What the audit trail keeps of each request, in words and without secrets.

use hamesh_proto::digest::sha256_hex;
use hamesh_proto::v1;

use super::audit::Asked;

/// Digits of a digest that tell two documents apart for people.
const DIGITS: usize = 16;

/// Requests that only read.
macro_rules! reads {
    ($($request:ident),+ $(,)?) => {
        $(impl Asked for v1::$request {
            fn asked(&self) -> Option<String> {
                None
            }
        })+
    };
}

/// Requests that are to change something, and what the trail keeps of them.
macro_rules! changes {
    ($($request:ident: |$it:ident| $words:expr),+ $(,)?) => {
        $(impl Asked for v1::$request {
            fn asked(&self) -> Option<String> {
                let $it = self;
                Some($words)
            }
        })+
    };
}

reads!(
    StatusRequest,
    EventsRequest,
    ReadSiteRequest,
    PlanSiteRequest,
    PlanAssignRequest,
    PlanUpgradeRequest,
    FollowRolesRequest,
    ListSecretsRequest,
    ListTokensRequest,
    ListOperatorsRequest,
    AuditRequest,
    ListClaimsRequest,
    ExplainClaimRequest,
    LeaderRequest,
    ListCoordinatorsRequest,
    DatabaseStatusRequest,
);

changes!(
    ApplySiteRequest: |it| {
        let digest = &sha256_hex(it.yaml.as_bytes())[..DIGITS];
        let (length, base) = (it.yaml.len(), generation(it.base));
        format!("a document of {length} bytes (SHA-256 {digest}), planned on {base}")
    },
    AssignRequest: |it| {
        let purge = if it.purge_data { " and without its data" } else { "" };
        let (role, base) = (or(&it.role, "none"), generation(it.base));
        format!("{} as {role}{purge}, planned on {base}", it.node)
    },
    CreateTokenRequest: |it| format!("for {}, for {} s", it.node, it.valid_s),
    RevokeTokenRequest: |it| it.id.clone(),
    RemoveNodeRequest: |it| it.node.clone(),
    AllowReEnrolRequest: |it| format!("{}, for {} s", it.node, it.valid_s),
    AddOperatorRequest: |it| {
        let access = match it.access() {
            v1::Access::Viewer => "viewer",
            v1::Access::Admin => "admin",
            v1::Access::Unspecified => "nothing",
        };
        format!("{} as {access}", it.name)
    },
    RemoveOperatorRequest: |it| it.name.clone(),
    RenewCertificateRequest: |_it| "a certificate for the caller".to_owned(),
    RotateGossipKeyRequest: |_it| "a new gossip key".to_owned(),
    BackupRequest: |_it| "a backup of everything, the CA's key among it".to_owned(),
    SetBackupKeyRequest: |_it| "a passphrase for the scheduled backups".to_owned(),
    UpgradeRequest: |it| {
        let wish = it.wish.clone().unwrap_or_default();
        let nodes = |lead: &str, nodes: &[String]| match nodes {
            [] => String::new(),
            nodes => format!("{lead}{}", nodes.join(", ")),
        };
        let (only, skip) = (nodes(", only ", &wish.nodes), nodes(", without ", &wish.skip));
        let resumed = if it.resumed { ", going on" } else { "" };
        format!("to {}{only}{skip}{resumed}", wish.version)
    },
    RetryRoleRequest: |it| match it.nodes.as_slice() {
        [] => "all on which it failed".to_owned(),
        nodes => nodes.join(", "),
    },
    SetSecretRequest: |it| format!("a value for {}", it.name),
    RotateSecretRequest: |it| format!("a new {}", it.name),
    MoveClaimRequest: |it| format!("{} to {}", it.claim, or(&it.to, "the best other node")),
    PauseClaimRequest: |it| {
        format!("{} {}", if it.paused { "pause" } else { "resume" }, it.claim)
    },
    DrainNodeRequest: |it| it.node.clone(),
    UndrainNodeRequest: |it| it.node.clone(),
    ConfirmFencedRequest: |it| format!("{} is off", it.node),
    SwitchoverRequest: |it| format!("from {} to {}", it.from, it.to),
    RestartDatabaseRequest: |it| it.node.clone(),
    ReinitDatabaseRequest: |it| it.node.clone(),
    AddCoordinatorRequest: |it| it.node.clone(),
    RemoveCoordinatorRequest: |it| it.node.clone(),
    JoinRequest: |_it| "what makes the caller's machine a coordinator".to_owned(),
);

fn or<'a>(text: &'a str, empty: &'a str) -> &'a str {
    if text.is_empty() { empty } else { text }
}

fn generation(id: Option<v1::AssignmentId>) -> String {
    id.map_or("nothing".to_owned(), |id| {
        format!("generation {}", id.generation)
    })
}
