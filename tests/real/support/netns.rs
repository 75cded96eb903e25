//! Network namespaces of a test: machines with their own addresses. They go away
//! with the process that holds them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{CleanupGuard, kill_group, run, spawn};
use super::wait::becomes_true;

const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Namespace {
    holder: Child,
    _cleanup: CleanupGuard,
}

impl Namespace {
    /// A namespace with only its loopback up.
    pub fn new() -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("unshare");
        let holder = spawn(command.args(["--net", "sleep", "infinity"]).process_group(0));
        let cleanup = CleanupGuard::new(Some(&holder), None);
        let own = std::fs::read_link("/proc/self/ns/net").expect("the own namespace");
        let path = format!("/proc/{}/ns/net", holder.id());
        let has_begun = || std::fs::read_link(&path).is_ok_and(|namespace| namespace != own);
        assert!(becomes_true(has_begun), "no namespace; these tests need root");
        let namespace = Self { holder, _cleanup: cleanup };
        namespace.ip("link set lo up");
        namespace
    }

    /// A command that runs in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target"]).arg(self.holder.id().to_string()).arg(program);
        command
    }

    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        let mut command = self.command("ip");
        run(command.args(arguments.split_whitespace()), b"", COMMAND_TIMEOUT).expect_ok("ip");
    }

    /// Loads rules in the format of /etc/nftables.conf.
    #[track_caller]
    pub fn nft(&self, rules: &str) {
        let mut command = self.command("nft");
        run(command.args(["-f", "-"]), rules.as_bytes(), COMMAND_TIMEOUT).expect_ok("nft");
    }

    pub fn forward(&self) {
        let mut command = self.command("sysctl");
        let set = run(command.args(["-q", "-w", "net.ipv4.ip_forward=1"]), b"", COMMAND_TIMEOUT);
        set.expect_ok("sysctl");
    }

    /// A cable between two machines: `name` here, `other_name` there, both up, without addresses.
    pub fn link(&self, name: &str, other: &Self, other_name: &str) {
        let peer = other.holder.id();
        self.ip(&format!("link add {name} type veth peer name {other_name} netns {peer}"));
        self.ip(&format!("link set {name} up"));
        other.ip(&format!("link set {other_name} up"));
    }

    /// Moves this thread into the namespace.
    pub fn enter(&self) {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        let namespace = File::open(path).expect("the namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("entering the namespace");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        kill_group(&mut self.holder);
    }
}
