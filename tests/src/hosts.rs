//! Hosts on one network, as network namespaces that are joined by pairs of virtual links to a bridge. Needs root.

use std::process::Command;

use crate::program::{self, Program};

/// Separate hosts. Dropping them takes them away.
pub struct Hosts {
    tag: String,
    count: usize,
}

impl Hosts {
    /// So many hosts on as many networks; `None` where this machine does not let us make any, which is said.
    pub fn make(count: usize, networks: usize) -> Option<Self> {
        if !program::is_root() || !program::has("ip") {
            program::skip("separate hosts need root and the program ip, of the package iproute2");
            return None;
        }
        let hosts = Self { tag: format!("t{:x}", std::process::id()), count };
        if !hosts.try_ip(&["netns", "add", &hosts.switch()]) {
            program::skip("this machine lets nobody make network namespaces");
            return None;
        }
        for host in 0..count {
            hosts.ip(&["netns", "add", &hosts.name(host)]);
            hosts.inside(host, &["ip", "link", "set", "lo", "up"]);
        }
        for network in 0..networks {
            hosts.connect(network);
        }
        Some(hosts)
    }

    fn connect(&self, network: usize) {
        let (switch, bridge) = (self.switch(), format!("br{network}"));
        // Without snooping: a bridge that has just been made has nobody who asks for members.
        self.ip(&["-n", &switch, "link", "add", &bridge, "type", "bridge", "mcast_snooping", "0"]);
        self.ip(&["-n", &switch, "link", "set", &bridge, "up"]);
        for host in 0..self.count {
            let (name, link, port) = (self.name(host), interface(network), format!("p{network}h{host}"));
            self.ip(&[
                "link", "add", &link, "netns", &name, "type", "veth", "peer", "name", &port, "netns", &switch,
            ]);
            self.ip(&["-n", &switch, "link", "set", &port, "master", &bridge, "up"]);
            self.ip(&["-n", &name, "addr", "add", &format!("{}/24", v4(network, host)), "dev", &link]);
            self.ip(&[
                "-n",
                &name,
                "addr",
                "add",
                &format!("{}/64", v6(network, host)),
                "dev",
                &link,
                "nodad",
            ]);
            self.ip(&["-n", &name, "link", "set", &link, "up"]);
        }
    }

    /// Takes a host's link down, or up again.
    pub fn set_link(&self, host: usize, network: usize, up: bool) {
        let (name, link) = (self.name(host), interface(network));
        self.ip(&["-n", &name, "link", "set", &link, if up { "up" } else { "down" }]);
        if up {
            // It went with the link.
            let address = format!("{}/64", v6(network, host));
            self.ip(&["-n", &name, "addr", "replace", &address, "dev", &link, "nodad"]);
        }
    }

    /// Pulls a host's cable out of the switch, or plugs it in again: the host sees its link go, and not its interface.
    pub fn set_cable(&self, host: usize, network: usize, plugged: bool) {
        let port = format!("p{network}h{host}");
        self.ip(&["-n", &self.switch(), "link", "set", &port, if plugged { "up" } else { "down" }]);
    }

    /// Starts one of our programs on a host, with `--json`.
    pub fn start(&self, host: usize, name: &str, arguments: &[&str]) -> Program {
        let mut command = self.command(host, &program::path(name));
        command.arg("--json").args(arguments);
        Program::spawn(command)
    }

    /// A command that runs on a host.
    pub fn command(&self, host: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).arg(program);
        command
    }

    fn inside(&self, host: usize, command: &[&str]) {
        self.ip(&[&["netns", "exec", &self.name(host)], command].concat());
    }

    fn name(&self, host: usize) -> String {
        format!("{}h{host}", self.tag)
    }

    fn switch(&self) -> String {
        format!("{}sw", self.tag)
    }

    fn ip(&self, arguments: &[&str]) {
        assert!(self.try_ip(arguments), "ip {arguments:?}");
    }

    fn try_ip(&self, arguments: &[&str]) -> bool {
        Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 0..self.count {
            self.try_ip(&["netns", "del", &self.name(host)]);
        }
        self.try_ip(&["netns", "del", &self.switch()]);
    }
}

/// The name of every host's interface on a network.
pub fn interface(network: usize) -> String {
    format!("net{network}")
}

/// A host's IPv4 address on a network.
pub fn v4(network: usize, host: usize) -> String {
    format!("10.77.{network}.{}", host + 1)
}

/// A host's IPv6 address on a network.
pub fn v6(network: usize, host: usize) -> String {
    format!("fd77:{network}::{}", host + 1)
}
