//! Ports as EXPOSE takes them: `80`, `80/udp`, `7000-7002/tcp`, `127.0.0.1:8080:80`.

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The container's ports of one EXPOSE word, each `PORT/PROTOCOL` (docker's `nat.ParsePortSpecs`).
///
/// # Errors
/// A text that says what is wrong.
pub fn parse(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() };
    let container = ports.rsplit(':').next().unwrap_or_default();
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let bad = || format!("invalid containerPort: {container}");
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u16>().map_err(|_| bad()) } else { Err(bad()) }
    };
    let (first, last) = match container.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(container)?, number(container)?),
    };
    if last < first {
        return Err(bad());
    }
    if !PROTOCOLS.contains(&protocol.as_str()) {
        return Err(format!("invalid proto: {protocol}"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        for (text, ports) in [
            ("80", "80/tcp"),
            ("80/UDP", "80/udp"),
            ("7000-7002", "7000/tcp 7001/tcp 7002/tcp"),
            ("127.0.0.1:8080:80/sctp", "80/sctp"),
        ] {
            assert_eq!(parse(text).unwrap().join(" "), ports, "{text}");
        }
        for text in ["", "x", "80/http", "70000", "9-8", "80-", "+80"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
