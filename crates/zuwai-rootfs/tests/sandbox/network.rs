//! `RUN --network=none`.

use std::net::TcpListener;
use std::path::Path;

use zuwai_rootfs::command::Command;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::run::Outcome;
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::step_mount::StepNetwork;

use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, captured, is_root, need, shell};

pub const TESTS: [Test; 3] = [
    ("no_network_is_a_loopback_device_alone", no_network_is_a_loopback_device_alone),
    ("the_builders_network_is_out_of_reach", the_builders_network_is_out_of_reach),
    ("no_network_in_place_is_refused", no_network_in_place_is_refused),
];

fn needed() -> Verdict {
    need(is_root(), "root")?;
    need(Path::new(BUSYBOX).exists(), "busybox-static")
}

fn without_network(script: &str) -> Command {
    Command { network: StepNetwork::None, resolv_conf: b"nameserver 192.0.2.1\n".to_vec(), ..shell(script) }
}

fn no_network_is_a_loopback_device_alone() -> Verdict {
    needed()?;
    let root = busybox_root();
    let script = "ip -o address | tr -s ' ' | cut -d' ' -f2,3,4; ip route; ls /sys/class/net; cat /etc/resolv.conf; \
        (echo over | nc -l -p 7 127.0.0.1 > /tmp/heard &); sleep 0.2; nc 127.0.0.1 7 < /dev/null; \
        echo x > /sys/class/net/lo/mtu";
    let (outcome, text) = captured(root.path(), &without_network(script), Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(1), "{text}");
    assert!(
        text.starts_with("lo inet 127.0.0.1/8\nlo inet6 ::1/128\nlo\nnameserver 192.0.2.1\nover\n"),
        "{text}"
    );
    assert!(text.contains("Read-only file system"), "{text}");
    Ok(())
}

fn the_builders_network_is_out_of_reach() -> Verdict {
    needed()?;
    let root = busybox_root();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || while listener.accept().is_ok() {});
    let script = format!("nc -w 2 127.0.0.1 {port} < /dev/null");
    let (outcome, text) = captured(root.path(), &shell(&script), Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
    let (outcome, text) = captured(root.path(), &without_network(&script), Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(1));
    assert!(text.contains("Connection refused"), "{text}");
    Ok(())
}

fn no_network_in_place_is_refused() -> Verdict {
    let root = tempfile::tempdir().unwrap();
    let (outcome, text) = captured(root.path(), &without_network("echo ran"), Mode::InPlace);
    assert!(matches!(outcome, Err(RunError::NetworkInPlace)), "{outcome:?}");
    assert_eq!(text, "");
    Ok(())
}
