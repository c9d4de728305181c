//! What stands in the lab:
//!
//! ```text
//!   client .4   host .5 (default route 10.9.0.254)
//!      │           │
//!   ───┴───────────┴──────┬─────────────┬─────────────┬───  br0, 10.9.0.0/24
//!                       r1 .1         r2 .2         r3 .3   xvrrp, HAProxy on 10.9.0.100
//!   ───┬─────┬─────┬──────┴─────────────┴─────────────┴───  br1, 10.77.0.0/24
//!    far .10  web1 .21  web2 .22    (default route 10.77.0.254)
//! ```

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    net::Ipv4Addr,
    path::PathBuf,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    Case, Interrupt, Plan, Stop,
    stale::{PREFIX, SCRATCH},
    web::{Backend, haproxy_config},
};
use crate::{
    LONG,
    capture::Capture,
    client::Client,
    frames::Said,
    haproxy::{Haproxy, PORT, check_script},
    netns::{Namespace, ip},
    ping::Pinger,
    process::Scratch,
    xvrrp::{Xvrrp, binary},
};

/// The address HAProxy serves.
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
/// The host's gateway.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 254);
/// The way back from the far network.
pub(super) const WAY_BACK: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// Between two pings of the host.
const PING_PERIOD: Duration = Duration::from_millis(10);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const BACKENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 21), Ipv4Addr::new(10, 77, 0, 22)];
/// Their names.
pub(super) const BACKEND_NAMES: [&str; 2] = ["web1", "web2"];
/// How many routers there are.
pub(super) const ROUTERS: usize = 3;
/// How many lines of a log are shown when something went wrong.
const LOG_LINES: usize = 12;
/// Longer than a daemon allows itself to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(25);
/// Of the virtual router that has the service's address.
pub(super) const SERVICE_VRID: u8 = 51;
/// Between two requests of the client.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A router: its namespace, its daemon, its HAProxy.
pub(super) struct Router {
    daemon: Xvrrp,
    proxy: Option<Haproxy>,
    /// Of its two interfaces.
    macs: [[u8; 6]; 2],
    pub(super) namespace: Namespace,
}

/// Everything. What is dropped first comes first.
pub(super) struct Lab<'a> {
    pub(super) client: Client,
    pub(super) pinger: Pinger,
    pub(super) captures: [Capture; 2],
    pub(super) backends: [Option<Backend>; 2],
    pub(super) routers: Vec<Router>,
    hosts: Vec<Namespace>,
    webs: Vec<Namespace>,
    switch: Namespace,
    scratch: Scratch,
    pub(super) interrupt: &'a Interrupt,
    pub(super) advert_int: f64,
}

impl<'a> Lab<'a> {
    pub(super) fn build(case: &Case, plan: &Plan, interrupt: &'a Interrupt) -> Result<Self, Stop> {
        let scratch = Scratch::new(SCRATCH);
        let switch = Namespace::named(format!("{PREFIX}switch"));
        for bridge in ["br0", "br1"] {
            switch.ip(&format!(
                "link add {bridge} type bridge forward_delay 0 mcast_snooping 0"
            ));
            // Promiscuous, so that a capture on the bridge sees what hosts say to each other.
            switch.ip(&format!("link set {bridge} up promisc on"));
        }
        let machine = |name: &str| Namespace::named(format!("{PREFIX}{name}"));
        let hosts: Vec<Namespace> = ["client", "host"].into_iter().map(machine).collect();
        for (number, host) in (4..).zip(&hosts) {
            plug(&switch, "br0", host, "eth0", &format!("10.9.0.{number}/24"));
        }
        hosts[1].ip(&format!("route add default via {GATEWAY}"));
        let webs: Vec<Namespace> = ["far", "web1", "web2"].into_iter().map(machine).collect();
        for (address, web) in [FAR, BACKENDS[0], BACKENDS[1]].into_iter().zip(&webs) {
            plug(&switch, "br1", web, "eth0", &format!("{address}/24"));
            web.ip(&format!("route add default via {WAY_BACK}"));
        }
        let captures = ["br0", "br1"].map(|bridge| Capture::start(&switch, bridge, None));
        let backends = [0, 1].map(|index| {
            let name = BACKEND_NAMES[index];
            Some(Backend::start(&webs[index + 1], name))
        });
        let mut routers: Vec<Router> = Vec::new();
        for number in 0..ROUTERS {
            let namespace = machine(&format!("r{}", number + 1));
            let own = |net: &str| format!("10.{net}.0.{}/24", number + 1);
            plug(&switch, "br0", &namespace, "eth0", &own("9"));
            plug(&switch, "br1", &namespace, "eth1", &own("77"));
            prepare_router(&namespace);
            let config = config(&namespace, &scratch, case, number, plan.advert_int);
            let proxy = Some(start_proxy(&namespace, &scratch));
            let daemon = start_daemon(&namespace, &scratch, &config, plan);
            routers.push(Router {
                daemon,
                proxy,
                macs: ["eth0", "eth1"].map(|device| namespace.mac(device)),
                namespace,
            });
            // Under nopreempt whoever is first stays: the best must be.
            if number == 0 {
                wait_master(&routers[0], plan, interrupt)?;
            }
        }
        let lab = Self {
            client: Client::start(&hosts[0], SERVICE, PORT, ASK_EVERY),
            pinger: Pinger::start(&hosts[1], FAR.into(), PING_PERIOD),
            captures,
            backends,
            routers,
            hosts,
            webs,
            switch,
            scratch,
            interrupt,
            advert_int: plan.advert_int,
        };
        lab.wait_ready().inspect_err(|_| lab.show_logs())?;
        Ok(lab)
    }

    fn wait_ready(&self) -> Result<(), Stop> {
        self.interrupt
            .wait_for("every check to pass", self.limit(), || {
                (0..ROUTERS)
                    .all(|router| self.check(router) == Some(true))
                    .then_some(())
            })?;
        self.interrupt
            .wait_for("client and host to be served", self.limit(), || {
                (self.client.answers().len() > 10 && self.pinger.is_answered()).then_some(())
            })
    }

    /// What a router's own check says of its HAProxy.
    pub(super) fn check(&self, router: usize) -> Option<bool> {
        let router = self.routers.get(router)?;
        let instance = router.daemon.instance(&router.namespace, "WEB")?;
        instance["checks"][0]["up"].as_bool()
    }

    /// The only router that carries all three addresses, if there is one.
    pub(super) fn holder(&self) -> Option<usize> {
        let carried: Vec<usize> = self.routers.iter().map(carries).collect();
        let whole = carried.iter().position(|count| *count == 3)?;
        (carried.iter().sum::<usize>() == 3).then_some(whole)
    }

    pub(super) fn has_proxy(&self, router: usize) -> bool {
        self.routers[router].proxy.is_some()
    }

    pub(super) fn kill_proxy(&mut self, router: usize) {
        if let Some(mut proxy) = self.routers[router].proxy.take() {
            proxy.kill();
        }
    }

    pub(super) fn start_proxy(&mut self, router: usize) {
        let proxy = start_proxy(&self.routers[router].namespace, &self.scratch);
        self.routers[router].proxy = Some(proxy);
    }

    pub(super) fn start_backend(&mut self, index: usize) {
        let backend = Backend::start(&self.webs[index + 1], BACKEND_NAMES[index]);
        self.backends[index] = Some(backend);
    }

    /// HAProxy's statistics socket on a router.
    pub(super) fn stats(&self, router: usize) -> PathBuf {
        stats(&self.routers[router].namespace, &self.scratch)
    }

    /// Pulls both cables of a router, or puts them back.
    pub(super) fn cables(&self, router: usize, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        let name = short(&self.routers[router].namespace);
        for device in ["eth0", "eth1"] {
            self.switch.ip(&format!("link set {name}-{device} {state}"));
        }
    }

    /// How long anything may take: a Master_Down or two, and what surrounds it.
    pub(super) fn limit(&self) -> Duration {
        limit(self.advert_int)
    }

    /// The state of a router, as it says itself.
    pub(super) fn state(&self, router: usize) -> String {
        self.told(router, "state")
    }

    /// Why a router is in its state.
    pub(super) fn why(&self, router: usize) -> String {
        self.told(router, "why")
    }

    fn told(&self, router: usize, what: &str) -> String {
        let router = &self.routers[router];
        let instance = router.daemon.instance(&router.namespace, "WEB");
        let instance = instance.unwrap_or_default();
        instance[what].as_str().unwrap_or_default().to_owned()
    }

    /// The last words of every program on the routers, for whoever has to find out why a step did
    /// not end as it must.
    pub(super) fn show_logs(&self) {
        for router in &self.routers {
            let proxy = router.proxy.as_ref().map(Haproxy::log).unwrap_or_default();
            for (program, log) in [("xvrrp", router.daemon.process.log()), ("haproxy", proxy)] {
                let lines: Vec<&str> = log.lines().collect();
                let last = lines.get(lines.len().saturating_sub(LOG_LINES)..);
                for line in last.unwrap_or_default() {
                    // Whoever reads may be gone.
                    let _ = writeln!(
                        io::stderr(),
                        "{} {program}: {line}",
                        short(&router.namespace)
                    );
                }
            }
        }
    }

    /// When a router first announced an address from `from_ns` on, on either side.
    pub(super) fn announced(&self, router: usize, address: Ipv4Addr, from_ns: u64) -> Option<u64> {
        let macs = self.routers[router].macs;
        let seen = self.captures.iter().flat_map(Capture::seen);
        seen.filter(|entry| {
            entry.at_ns >= from_ns
                && matches!(&entry.said, Said::Arp { operation: 1, sender, target, sender_mac }
                    if *sender == address && *target == address && macs.contains(sender_mac))
        })
        .map(|entry| entry.at_ns)
        .min()
    }

    /// Tells a person how to look around.
    pub(super) fn explain(&self) {
        let all = self
            .routers
            .iter()
            .map(|router| &router.namespace)
            .chain(&self.hosts)
            .chain(&self.webs)
            .chain([&self.switch]);
        let holder = self.holder().unwrap_or(0);
        let name = self.routers[holder].namespace.name();
        let mut text =
            "\nThe lab goes on until Ctrl-C. Look around in another terminal, as root:\n\n"
                .to_owned();
        for namespace in all {
            let _ = writeln!(text, "  ip netns exec {} bash", namespace.name());
        }
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "\n  ip netns exec {name} {} status\n  \
             ip netns exec {name} ip address show dev eth0\n  \
             ip netns exec {PREFIX}client curl http://{SERVICE}:{PORT}/\n  \
             ip netns exec {PREFIX}host ping {FAR}\n  \
             ip -n {PREFIX}switch link set {}-eth0 down    # pulls a cable\n",
            binary(),
            short(&self.routers[holder].namespace)
        );
        // Beside the timeline, which may be for a program.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // In order: the daemon resigns and takes its addresses off while its namespace is there.
        self.daemon.process.end(Signal::SIGTERM, STOP_PATIENCE);
    }
}

/// How many of the three addresses a router carries.
fn carries(router: &Router) -> usize {
    let shown = router.namespace.ip("-4 -o address show");
    [SERVICE, GATEWAY, WAY_BACK]
        .iter()
        .filter(|address| shown.contains(&format!(" {address}/")))
        .count()
}

fn wait_master(router: &Router, plan: &Plan, interrupt: &Interrupt) -> Result<(), Stop> {
    let what = format!("{} to become MASTER", short(&router.namespace));
    interrupt.wait_for(&what, limit(plan.advert_int), || {
        let status = router.daemon.status(&router.namespace)?;
        let instances = status["instances"].as_array()?;
        let masters = instances
            .iter()
            .filter(|instance| instance["state"] == "MASTER");
        (masters.count() == 3).then_some(())
    })
}

fn limit(advert_int: f64) -> Duration {
    LONG + Duration::from_secs_f64(20.0 * advert_int)
}

/// A name without the lab's prefix.
fn short(namespace: &Namespace) -> &str {
    namespace.name().strip_prefix(PREFIX).unwrap_or_default()
}

/// A cable from a machine to a bridge; the bridge's end is named after both.
fn plug(switch: &Namespace, bridge: &str, machine: &Namespace, device: &str, address: &str) {
    let port = format!("{}-{device}", short(machine));
    ip(&format!(
        "link add {port} netns {} type veth peer name {device} netns {}",
        switch.name(),
        machine.name()
    ));
    switch.ip(&format!("link set {port} master {bridge} up"));
    machine.ip(&format!("address add {address} dev {device}"));
    machine.ip(&format!("link set {device} up"));
}

/// A router forwards, and lets HAProxy bind an address that is not there yet.
fn prepare_router(namespace: &Namespace) {
    namespace.enter(|| {
        for (setting, value) in [
            ("ip_forward", "1"),
            ("ip_nonlocal_bind", "1"),
            ("conf/all/rp_filter", "0"),
            ("conf/eth0/rp_filter", "0"),
            ("conf/eth1/rp_filter", "0"),
            ("conf/all/send_redirects", "0"),
            ("conf/eth0/send_redirects", "0"),
            ("conf/eth1/send_redirects", "0"),
        ] {
            fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).expect("a sysctl");
        }
    });
}

fn stats(namespace: &Namespace, scratch: &Scratch) -> PathBuf {
    scratch.path(&format!("{}.stats", short(namespace)))
}

fn start_proxy(namespace: &Namespace, scratch: &Scratch) -> Haproxy {
    let config = haproxy_config(SERVICE, BACKENDS, &stats(namespace, scratch));
    Haproxy::with_config(namespace, scratch, &config)
}

fn start_daemon(namespace: &Namespace, scratch: &Scratch, config: &str, plan: &Plan) -> Xvrrp {
    let bpffs = plan
        .bpffs
        .as_ref()
        .map(|path| format!("--bpffs={}", path.display()));
    let options: Vec<&str> = bpffs.iter().map(String::as_str).collect();
    Xvrrp::with_options(namespace, scratch, config, &options)
}

/// Three virtual routers that watch the same check, so that they move together.
fn config(
    namespace: &Namespace,
    scratch: &Scratch,
    case: &Case,
    number: usize,
    advert_int: f64,
) -> String {
    let check = check_script(namespace, scratch, &format!("  {}\n", case.weight));
    let priority = case.priorities[number];
    let preempt = if case.nopreempt { "  nopreempt\n" } else { "" };
    let state = if case.nopreempt || number > 0 {
        "BACKUP"
    } else {
        "MASTER"
    };
    let instance = |name: &str, device: &str, vrid: u8, address: Ipv4Addr| {
        format!(
            "vrrp_instance {name} {{\n  state {state}\n  version 3\n  interface {device}\n  \
             virtual_router_id {vrid}\n  priority {priority}\n  advert_int {advert_int}\n{preempt}  \
             garp_master_delay 1\n  virtual_ipaddress {{\n    {address}/24\n  }}\n  \
             track_script {{\n    haproxy\n  }}\n}}\n"
        )
    };
    format!(
        "global_defs {{\n  router_id r{}\n}}\n{check}{}{}{}",
        number + 1,
        instance("WEB", "eth0", SERVICE_VRID, SERVICE),
        instance("GATEWAY", "eth0", 52, GATEWAY),
        instance("WAY_BACK", "eth1", 53, WAY_BACK),
    )
}
