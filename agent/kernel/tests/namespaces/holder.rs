//! A holder as a process of its own, that can be stopped and killed: this program again, started
//! in a node's namespace with its part in the environment.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hamesh_kernel::fence::{Fence, Written};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::{Node, PATIENCE, VIPS};

const PART: &str = "HAMESH_KERNEL_TEST_HOLDER";
/// Long beside what a busy machine may keep a process waiting.
const TTL: Duration = Duration::from_secs(2);

/// The test's end of it.
pub struct Holder {
    child: Child,
    lines: Receiver<String>,
}

impl Holder {
    pub fn start(node: &Node) -> Result<Self> {
        let addresses = VIPS.map(|v| v.to_string()).join(",");
        let mut child = Command::new("nsenter")
            .arg(format!("--net={}", node.namespace.path()))
            .arg(std::env::current_exe()?)
            .env(PART, addresses)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("it is piped")?;
        let (said, lines) = channel();
        std::thread::spawn(move || {
            let all = BufReader::new(output).lines();
            all.map_while(Result::ok)
                .try_for_each(|line| said.send(line))
        });
        Ok(Self { child, lines })
    }

    /// The next line that it says; none once it has ended.
    pub fn says(&mut self) -> Result<Option<String>> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the holder says nothing and goes on"),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(kill(pid, signal)?)
    }

    /// The letter that the kernel shows for its state: `T` while it is stopped.
    pub fn state(&self) -> Result<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
        Ok(rest.trim_start().chars().take(1).collect())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself; that it is reaped is what matters here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end: takes, renews often, and says how it ended.
pub fn main_if_asked() -> Option<ExitCode> {
    let addresses = std::env::var(PART).ok()?;
    Some(match hold(&addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("failed: {e:#}");
            ExitCode::FAILURE
        }
    })
}

fn hold(addresses: &str) -> Result<()> {
    let addresses: Vec<IpAddr> = addresses
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut fence = Fence::open()?;
    let mut written = fence.take(&addresses, Instant::now() + TTL)?;
    println!("live");
    while written == Written::Live {
        std::thread::sleep(TTL / 20);
        written = fence.renew(&addresses, Instant::now() + TTL)?;
    }
    println!("{written:?}");
    Ok(())
}
