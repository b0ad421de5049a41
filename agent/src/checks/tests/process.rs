//! A main process followed, with real processes and a systemd that says what the test says.

use std::process::{Child, Command};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::super::Outcome;
use super::super::process::{UnitState, follow};
use super::GENEROUS;

struct Followed {
    systemd: watch::Sender<UnitState>,
    told: mpsc::UnboundedReceiver<Outcome>,
}

impl Followed {
    fn start(state: UnitState, settling: Duration) -> Self {
        let (systemd, states) = watch::channel(state);
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(follow(states, settling, move |outcome| {
            let taken = tell.send(outcome).is_ok();
            async move { taken }
        }));
        Self { systemd, told }
    }

    async fn told(&mut self) -> Outcome {
        let told = timeout(GENEROUS, self.told.recv()).await;
        told.expect("something is told").expect("it goes on")
    }

    async fn fails(&mut self, reason: &str) {
        let why = self.told().await.expect_err(reason);
        assert!(why.contains(reason), "{why} / {reason}");
    }
}

fn sleeper() -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("1000").spawn().expect("a process")
}

fn running(child: &Child) -> UnitState {
    UnitState::Running { pid: child.id() }
}

#[tokio::test]
async fn the_end_of_the_process_is_told_before_systemd_knows() {
    let mut child = sleeper();
    let mut followed = Followed::start(running(&child), GENEROUS);
    assert_eq!(followed.told().await, Ok(()), "found at the first look");
    child.kill().expect("killed");
    followed.fails("ended").await;
    // Not reaped yet: systemd may still name it.
    followed.systemd.send_replace(running(&child));
    followed
        .systemd
        .send_replace(UnitState::NotRunning("it is failed".to_owned()));
    child.wait().expect("reaped");
    followed.fails("it is failed").await;
}

#[tokio::test]
async fn a_process_that_is_new_must_live_for_a_while() {
    let (mut first, mut second) = (sleeper(), sleeper());
    let mut followed = Followed::start(running(&first), Duration::from_millis(200));
    assert_eq!(followed.told().await, Ok(()));
    first.kill().expect("killed");
    followed.fails("ended").await;
    followed.systemd.send_replace(running(&second));
    followed.fails("just now").await;
    assert_eq!(followed.told().await, Ok(()), "lived long enough");
    second.kill().expect("killed");
    followed.fails("ended").await;
    let young = Duration::from_secs(3600);
    let mut third = sleeper();
    let mut followed = Followed::start(UnitState::NotRunning("inactive".into()), young);
    followed.fails("inactive").await;
    followed.systemd.send_replace(running(&third));
    followed.fails("just now").await;
    third.kill().expect("killed");
    followed.fails("ended").await;
    for mut child in [first, second, third] {
        child.wait().expect("reaped");
    }
}

#[tokio::test]
async fn a_stop_is_told_while_the_process_still_runs() {
    let mut child = sleeper();
    let mut followed = Followed::start(running(&child), Duration::ZERO);
    assert_eq!(followed.told().await, Ok(()));
    followed
        .systemd
        .send_replace(UnitState::NotRunning("it is deactivating".to_owned()));
    followed.fails("deactivating").await;
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

#[tokio::test]
async fn a_systemd_that_cannot_be_asked_matters_only_where_nothing_is_watched() {
    let mut child = sleeper();
    let unknown = UnitState::Unknown("no bus".to_owned());
    let mut followed = Followed::start(UnitState::Unasked, Duration::ZERO);
    followed.systemd.send_replace(unknown.clone());
    followed.fails("no bus").await;
    let mut followed = Followed::start(running(&child), Duration::ZERO);
    assert_eq!(followed.told().await, Ok(()));
    followed.systemd.send_replace(unknown);
    child.kill().expect("killed");
    followed.fails("ended").await;
    child.wait().expect("reaped");
}

#[tokio::test]
async fn a_process_that_is_gone_already_is_not_taken_for_one() {
    let mut child = sleeper();
    child.kill().expect("killed");
    child.wait().expect("reaped");
    let mut followed = Followed::start(running(&child), Duration::ZERO);
    followed.fails("gone").await;
}
