//! What a node runs on. Each engine says how to boot a node, how to get in, and how to stop time.

use hamesh_roles::Engine;

pub mod console;
pub mod nspawn;
pub mod qemu;
pub mod uml;

/// The exit status by which an engine says that its node asked for a reboot. It is nspawn's own
/// (EXIT_FORCE_RESTART).
pub const REBOOT: i32 = 133;

/// Whether a node runs on a kernel of its own: then it has a disk image, opens taps by name, and is
/// entered over its console.
pub const fn has_own_kernel(engine: Engine) -> bool {
    match engine {
        Engine::Nspawn => false,
        Engine::Uml | Engine::Qemu => true,
    }
}
