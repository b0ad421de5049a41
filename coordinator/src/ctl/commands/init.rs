//! `init`: from an installed package to a coordinator that answers, and its first operator.
//!
//! Interrupted at any point, the same command goes on: the first operator's identity is removed
//! from the coordinator's directory only after the coordinator answered it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use hamesh_proto::credentials::Credentials;
use hamesh_proto::ids::OperatorName;

use super::{Session, site, status};
use crate::config::Dirs;
use crate::ctl::cli::Init;
use crate::ctl::context::Context;
use crate::ctl::failure::{Failure, chain};
use crate::ctl::link::Link;
use crate::ctl::views::StatusView;
use crate::init::{self, InitError, InitOutcome, InitRequest, Owner};

/// The services of a coordinator, in the order in which they are started.
const UNITS: [&str; 2] = ["hamesh-store.service", "hamesh-coordinator.service"];
/// How long a coordinator may take to its first answer: a new store on a slow disk takes seconds.
const FIRST_ANSWER: Duration = Duration::from_secs(120);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// `init`
pub async fn run(session: &Session, options: Init) -> Result<(), Failure> {
    let yaml = site::read_document(&options.site_file)?;
    let path = session.context_path()?;
    let operator = options.operator.unwrap_or_else(caller);
    let owner = Owner::service().map_err(|error| Failure::failed(chain(&error), INSTALL))?;
    let request = InitRequest {
        yaml,
        node: options.node,
        operator,
        dirs: Dirs::default(),
        owner,
        now: SystemTime::now(),
        restored: None,
    };
    let site_file = options.site_file.display().to_string();
    match set_up(session, &request, &site_file, answer).await? {
        Some(view) => session.output.show(&view, |_| welcome(&view, &path)),
        None => Ok(()),
    }
}

/// Makes the files, starts the services, and waits for the first answer to a question; `None`:
/// nothing here starts services.
pub(super) async fn set_up<T>(
    session: &Session,
    request: &InitRequest,
    document: &str,
    question: impl AsyncFn(PathBuf) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let path = session.context_path()?;
    let outcome = init::init(request).map_err(|error| failure(error, document))?;
    save_context(&path, &outcome)?;
    session
        .output
        .tell(format!("The files of site {} are made.", outcome.site))?;
    if !Path::new("/run/systemd/system").exists() {
        let units = UNITS.join(" and ");
        let next = format!("next: start {units}: there is no systemd here");
        session.output.tell(next)?;
        return Ok(None);
    }
    start()?;
    session
        .output
        .tell(format!("{} are started.", UNITS.join(" and ")))?;
    let view = first_answer(&path, question).await?;
    init::hand_over(&request.dirs).map_err(|error| failure(error, document))?;
    Ok(Some(view))
}

pub(super) const INSTALL: &str = "install the package hamesh-coordinator and run this as root";

/// Who called `sudo`, or root.
pub(super) fn caller() -> OperatorName {
    let sudo = std::env::var("SUDO_USER")
        .ok()
        .and_then(|name| name.parse().ok());
    sudo.unwrap_or_else(|| "root".parse().expect("a name"))
}

fn save_context(path: &Path, outcome: &InitOutcome) -> Result<(), Failure> {
    let damaged = |reason: String| Failure::Failed {
        message: format!("the first operator's identity cannot be used: {reason}"),
        next: None,
    };
    let credentials =
        Credentials::from_pem(&outcome.operator_pem).map_err(|error| damaged(chain(&error)))?;
    let coordinators = outcome.coordinators.iter().map(|address| address.parse());
    let coordinators = coordinators.collect::<Result<_, std::net::AddrParseError>>();
    let coordinators = coordinators.map_err(|error| damaged(error.to_string()))?;
    let context = Context {
        site: outcome.site.clone(),
        coordinators,
        credentials,
    };
    if path.exists() && !Context::load(path)?.is_of_same_operator(&context) {
        return Err(Failure::invalid(
            format!(
                "{} holds another operator's or site's context",
                path.display()
            ),
            "move it away, or name another file with --context, and run the same command again",
        ));
    }
    context.save(path)
}

/// Starts the services now and at every boot.
fn start() -> Result<(), Failure> {
    let output = Command::new("systemctl")
        .args(["enable", "--now", "--quiet"])
        .args(UNITS)
        .output();
    let told = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::failed(
        format!("the services do not start: {told}"),
        LOOK,
    ))
}

const LOOK: &str = "see why: `journalctl -u hamesh-store -u hamesh-coordinator`; then run the \
                    same command again, it goes on where it stopped";

/// Asks until a coordinator answers.
pub(super) async fn first_answer<T>(
    context: &Path,
    question: impl AsyncFn(PathBuf) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        let failure = match question(context.to_owned()).await {
            Ok(view) => return Ok(view),
            Err(failure) => failure,
        };
        if begun.elapsed() > FIRST_ANSWER {
            let waited = FIRST_ANSWER.as_secs();
            let message = format!("the coordinator does not answer after {waited} s: {failure}");
            return Err(Failure::failed(message, LOOK));
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// How the site is.
pub(super) async fn answer(context: PathBuf) -> Result<StatusView, Failure> {
    status::fetch(&mut Link::open(context, SystemTime::now()).await?.client).await
}

fn welcome(view: &StatusView, context: &Path) -> String {
    let node = &view.coordinator.node;
    format!(
        "Site {} is up: {node} coordinates it, {} nodes are to be enrolled.\n\
         Your way to it is in {}.\n\
         next: for each node `coordctl token create NODE`, beginning with {node}, and run what it \
         prints on that node\n",
        view.site,
        view.nodes.len(),
        context.display(),
    )
}

fn failure(error: InitError, site_file: &str) -> Failure {
    match error {
        InitError::Document(faults) => Failure::Document {
            file: site_file.to_owned(),
            faults,
        },
        InitError::UnknownNode(_) | InitError::NotACoordinator(_) => {
            Failure::invalid(error.to_string(), "mend the command or the document")
        }
        InitError::Finished { .. }
        | InitError::Other { .. }
        | InitError::Damaged { .. }
        | InitError::StoreTls(_)
        | InitError::Issue(_)
        | InitError::Snapshot(_)
        | InitError::Write { .. } => Failure::Failed {
            message: chain(&error),
            next: None,
        },
    }
}
