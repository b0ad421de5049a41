//! What shows that a configuration works.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use hamesh_proto::{pem_text, tls};
use hamesh_roles::checks::HttpUrl;
use hamesh_roles::engine::{Gate, Probe};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use crate::apply::program::run;
use crate::apply::systemd::{Systemd, journal};
use crate::apply::trouble::Trouble;
use crate::checks::{Outcome, http, tcp};
use crate::held::describe;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);
/// How long a program may run: one in Python takes seconds to start while a whole site boots.
const RUN: Duration = Duration::from_secs(10);
/// And how long until what is left of it is gone.
const ENDING: Duration = Duration::from_secs(2);
/// How long a unit must stay active: one that ends at once was never well.
const STAYS: Duration = Duration::from_secs(1);

/// Waits until every gate has been seen to hold. `units` are those whose words matter if one does
/// not.
///
/// # Errors
/// [`Trouble`]: the first that did not hold in its time.
pub async fn prove(gates: &[Gate], units: &[&str], systemd: &Systemd) -> Result<(), Trouble> {
    for gate in gates {
        prove_one(gate, units, systemd).await?;
    }
    Ok(())
}

async fn prove_one(gate: &Gate, units: &[&str], systemd: &Systemd) -> Result<(), Trouble> {
    let within = Duration::from_millis(gate.within_ms);
    let until = Instant::now() + within;
    loop {
        let longest = longest_look(&gate.probe);
        let look = timeout(longest, probe(&gate.probe, systemd)).await;
        let seen = look.unwrap_or_else(|_| Err(format!("no answer within {longest:?}")));
        let Err(why) = seen else {
            return Ok(());
        };
        if Instant::now() >= until {
            let problem = format!("{} was not seen within {within:?}: {why}", gate.name);
            let said = match &gate.probe {
                Probe::Active { unit } => journal(&[unit]).await,
                Probe::Tcp { .. }
                | Probe::Http { .. }
                | Probe::Shows { .. }
                | Probe::Program { .. } => journal(units).await,
            };
            return Err(Trouble::with(problem, said));
        }
        sleep(PAUSE).await;
    }
}

const fn longest_look(probe: &Probe) -> Duration {
    match probe {
        Probe::Active { .. } | Probe::Tcp { .. } | Probe::Http { .. } | Probe::Shows { .. } => LOOK,
        // It is ended before, so that its last words are told.
        Probe::Program { .. } => RUN.saturating_add(ENDING),
    }
}

async fn probe(probe: &Probe, systemd: &Systemd) -> Outcome {
    match probe {
        Probe::Active { unit } => {
            let first = active(unit, systemd).await?;
            sleep(STAYS).await;
            match active(unit, systemd).await? == first {
                true => Ok(()),
                false => Err(format!("{unit} was started anew meanwhile")),
            }
        }
        Probe::Tcp { address } => tcp::probe(*address).await,
        Probe::Http { url } => {
            let url: HttpUrl = url.parse().map_err(|error| format!("{url}: {error}"))?;
            http::probe(&url).await
        }
        Probe::Shows {
            address,
            certificate,
        } => shows(*address, certificate).await,
        Probe::Program { argv } => program(argv, RUN).await,
    }
}

/// Whether a program ends well in time. It is named, because a gate may run one of several.
async fn program(argv: &[String], within: Duration) -> Outcome {
    let last = |lines: &[String]| {
        lines
            .last()
            .map_or(String::new(), |line| format!(": {line}"))
    };
    let ran = match run(argv, Some(within)).await {
        Ok(ran) if ran.status.success() => return Ok(()),
        Ok(ran) => ran,
        Err(Trouble { problem, said }) => return Err(problem + &last(&said)),
    };
    let name = argv.first().map_or("", String::as_str);
    Err(format!("{name}: {}{}", ran.status, last(&ran.lines())))
}

/// Whether clients there are shown the certificate that is in this file.
async fn shows(address: SocketAddr, file: &str) -> Outcome {
    let pem = fs::read_to_string(file).map(Zeroizing::new);
    let pem = pem.map_err(|error| format!("{file}: {error}"))?;
    let certificates = pem_text::certificates(&pem).map_err(|error| format!("{file}: {error}"))?;
    let leaf = certificates
        .first()
        .ok_or_else(|| format!("{file}: no certificate is in it"))?;
    let shown = tls::shows(address, leaf).await;
    shown.map_err(|error| describe(&error))
}

/// systemd's name of the start with which it is active.
async fn active(unit: &str, systemd: &Systemd) -> Result<String, String> {
    let now = systemd.look(unit).await.map_err(|it| it.problem)?;
    match now.active.as_str() {
        "active" => Ok(now.invocation),
        other => Err(format!("{unit} is {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(address: std::net::SocketAddr, within_ms: u64) -> Gate {
        Gate {
            name: "the door is open".to_owned(),
            probe: Probe::Tcp { address },
            within_ms,
        }
    }

    fn shell(script: &str, within_ms: u64) -> Gate {
        Gate {
            name: "it counts to three".to_owned(),
            probe: Probe::Program {
                argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            },
            within_ms,
        }
    }

    #[tokio::test]
    async fn a_program_is_run_until_it_ends_well_and_else_its_last_line_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = folder.path().join("count").display().to_string();
        let third = format!("echo >> {count}; test $(wc -l < {count}) = 3");
        let systemd = Systemd::default();
        let proven = prove(&[shell(&third, 10_000)], &[], &systemd).await;
        proven.expect("the third run ends well");
        let never = shell("echo one; echo two >&2; exit 7", 300);
        let trouble = prove(&[never], &[], &systemd).await;
        let problem = trouble.expect_err("it ends badly").problem;
        assert_eq!(
            problem,
            "it counts to three was not seen within 300ms: /bin/sh: exit status: 7: two"
        );
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_or_cannot_begin_is_told_as_that() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let short = Duration::from_millis(200);
        let hangs = words(&["/bin/sh", "-c", "echo waiting >&2; sleep 600 & wait"]);
        let why = program(&hangs, short).await.expect_err("it hangs");
        assert_eq!(why, "/bin/sh did not end within 200ms: waiting");
        let absent = program(&words(&["/nonexistent/program"]), RUN).await;
        let why = absent.expect_err("it is not there");
        assert!(why.starts_with("/nonexistent/program: "), "{why}");
        let unnamed = program(&[], RUN).await.expect_err("it is none");
        assert_eq!(unnamed, "no program is named");
        program(&words(&["true"]), RUN)
            .await
            .expect("looked for where programs are");
    }

    #[tokio::test]
    async fn a_gate_is_waited_for_and_one_that_stays_shut_says_what_was_seen_last() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let systemd = Systemd::default();
        let open = [gate(address, 1000)];
        prove(&open, &[], &systemd).await.expect("it is open");
        drop(listener);
        let trouble = prove(&[gate(address, 300)], &[], &systemd).await;
        let problem = trouble.expect_err("it is shut").problem;
        assert!(
            problem.starts_with("the door is open was not seen"),
            "{problem}"
        );
    }
}
