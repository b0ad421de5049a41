//! The coordinator away for minutes; see `tests/soak/coordinator-away`.

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use hamesh_tests::soak::coordinator_away;
use hamesh_tests::vip::proxies::Site;
use hamesh_tests::vip::{hamesh, proxies};

/// The coordinator away while agents restart: what moves, and what fails.
#[derive(Debug, Parser)]
#[command(name = "tests/soak/coordinator-away", max_term_width = 100)]
struct Options {
    /// How long it is away.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let span = Duration::try_from_secs_f64(options.minutes * 60.0)?;
    let site = Site::of_this_build()?;
    ensure!(
        !site.is_up()?,
        "a lab is up; `hamesh-lab down` takes it down"
    );
    println!("bringing up {}", proxies::SITE_FILE);
    site.up(false)?;
    let holder = site.settled_holder()?;
    hamesh::wait_ready(&site, proxies::other(holder))?;
    println!(
        "{holder} holds. Restarts begin some seconds after the coordinator has stopped: until then \
         promises are as short as leases, and a restart may cost one (docs/decisions/0010)"
    );
    let away = coordinator_away(site.lab(), holder, span)?;
    println!("{away}");
    away.judge()
}
