//! A network interface as the fence and the packet sockets need it: its index and its name.
//!
//! Guarantees that a name can stand inside an nftables text: what cannot be quoted there is refused
//! where the name enters. The kernel itself allows more (only `/`, `:` and white space are out).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest name the kernel takes (`IFNAMSIZ` less its NUL).
const LONGEST: usize = 15;

/// A valid interface name, such as `ens192`, `bond0` or `eth0.30`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceName(String);

/// Why a text is no interface name that hamesh can fence.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeviceNameError {
    /// Empty, or longer than the kernel allows.
    #[error(
        "interface name `{name}` has {} bytes; the kernel allows 1 to {LONGEST}",
        name.len()
    )]
    Length {
        /// The name as given.
        name: String,
    },
    /// Holds a character that cannot stand in an nftables text.
    #[error("interface name `{name}` holds {character:?}; rename the interface")]
    Character {
        /// The name as given.
        name: String,
        /// The first character at fault.
        character: char,
    },
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(name: &str) -> Result<Self, DeviceNameError> {
        if name.is_empty() || name.len() > LONGEST {
            return Err(DeviceNameError::Length { name: name.into() });
        }
        // nft reads a trailing `*` as a wildcard, and cannot escape `"` or `\`.
        let bad = |c: &char| !c.is_ascii_graphic() || matches!(c, '"' | '\\' | '*' | '/' | ':');
        match name.chars().find(bad) {
            Some(character) => Err(DeviceNameError::Character {
                name: name.into(),
                character,
            }),
            None => Ok(Self(name.into())),
        }
    }
}

impl AsRef<str> for DeviceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One interface: the index is what the kernel knows it by, the name is what may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// The kernel's index.
    pub index: u32,
    /// The name it has now.
    pub name: DeviceName,
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vlans_bonds_and_bridges_are_taken_as_they_are() {
        for name in ["eth0.30", "bond0", "br-trust", "ens192", "enp3s0f1@x"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().as_ref(), name);
        }
    }

    #[test]
    fn a_name_that_could_break_out_of_the_ruleset_is_refused() {
        for name in ["", "a\"b", "eth*", "a b", "a/b", "0123456789abcdef", "ü0"] {
            assert!(name.parse::<DeviceName>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_hardware_address_prints_as_everyone_writes_it() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0xc, 0xff]);
        assert_eq!(mac.to_string(), "52:54:00:ab:0c:ff");
    }
}
