//! Loads the closed fence for the addresses on the command line into this network namespace and
//! prints where: `load ADDRESS...`, as root. What the boot unit does, by hand.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use hamesh_kernel::load::{Claimed, load};

fn main() -> Result<()> {
    let addresses = std::env::args().skip(1).map(|a| a.parse::<IpAddr>());
    let claimed = Claimed::of(addresses.collect::<Result<_, _>>()?);
    ensure!(!claimed.is_empty(), "name the addresses to fence");
    let fenced = load(&claimed)?;
    let names: Vec<&str> = fenced.devices.iter().map(|d| d.name.as_ref()).collect();
    println!("fenced at {}", names.join(", "));
    for name in &fenced.left_out {
        println!("NOT fenced at {name}: its name cannot be quoted, or there are too many");
    }
    Ok(())
}
