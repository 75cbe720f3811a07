//! Where images of a registry are pulled from: `--registry-mirror`, `--registry-map`.

use zuwai_oci::place::Place;
use zuwai_oci::reference::{DOCKER_HUB, without_user};
use zuwai_oci::registry::Mirrors;

use crate::error::ProgramError;
use crate::pflag::Parsed;

const MIRROR: &str = "--registry-mirror";
const MAP: &str = "--registry-map";

/// The mirrors of the flags. As in kaniko, a map of Docker Hub comes before its mirrors.
pub fn read(flags: &Parsed) -> Result<Mirrors, ProgramError> {
    let mut mirrors = Mirrors::default();
    mirrors.instead = flags.bool("skip-default-registry-fallback");
    for value in flags.list("registry-map") {
        add_map(&mut mirrors, value)?;
    }
    for value in flags.list("registry-mirror") {
        for text in value.split(',').filter(|text| !text.is_empty()) {
            mirrors.add(DOCKER_HUB, place(MIRROR, value, text)?);
        }
    }
    Ok(mirrors)
}

/// kaniko's `REGISTRY=HOST[/PATH]`, several between semicolons; one that names no registry is another place for the
/// registry before it.
fn add_map(mirrors: &mut Mirrors, value: &str) -> Result<(), ProgramError> {
    let mut registry = None;
    for part in value.split(';').filter(|part| !part.is_empty()) {
        let text = match part.split_once('=') {
            Some((name, text)) => {
                // The registry itself must be one, or no image would ever be mapped.
                registry = Some(place(MAP, value, name)?.registry().to_owned());
                text
            }
            None => part,
        };
        let Some(registry) = &registry else {
            let problem = "it must be REGISTRY=HOST[/PATH]".to_owned();
            return Err(ProgramError::RegistryFlag { flag: MAP, value: value.to_owned(), problem });
        };
        mirrors.add(registry, place(MAP, value, text)?);
    }
    Ok(())
}

fn place(flag: &'static str, value: &str, text: &str) -> Result<Place, ProgramError> {
    Place::parse(text.trim()).map_err(|problem| {
        // Beside a password only its own part is shown.
        let safe = without_user(text);
        let value = if safe == text { value.to_owned() } else { safe.into_owned() };
        ProgramError::RegistryFlag { flag, value, problem: problem.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use zuwai_oci::{Reference, Registry, RegistryOptions};

    use super::*;
    use crate::executor::flags::EXECUTOR;
    use crate::pflag::parse;

    fn from(arguments: &[&str]) -> Result<Mirrors, ProgramError> {
        read(&parse(EXECUTOR, arguments.iter().map(|argument| (*argument).to_owned())).unwrap())
    }

    fn places(arguments: &[&str], image: &str) -> Vec<String> {
        let options = RegistryOptions { mirrors: from(arguments).unwrap(), ..RegistryOptions::default() };
        let places = Registry::new(options).unwrap().places(&Reference::parse(image).unwrap());
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn places_are_asked_in_the_order_of_the_flags() {
        let hub = "index.docker.io/library/ubuntu:latest";
        for (arguments, image, expected) in [
            (&[][..], "ubuntu", &[hub][..]),
            (&["--registry-mirror=a.example"], "ubuntu", &["a.example/library/ubuntu:latest", hub]),
            (&["--registry-mirror=a.example"], "ghcr.io/a/b:1", &["ghcr.io/a/b:1"]),
            (
                &["--registry-mirror=a.example,b.example/hub/", "--registry-map=docker.io=c.example"],
                "ubuntu",
                &[
                    "c.example/library/ubuntu:latest",
                    "a.example/library/ubuntu:latest",
                    "b.example/hub/library/ubuntu:latest",
                    hub,
                ],
            ),
            (
                &["--registry-map=ghcr.io=a.example/x;quay.io=b.example;c.example:5000/y/z"],
                "quay.io/a/b:1",
                &["b.example/a/b:1", "c.example:5000/y/z/a/b:1", "quay.io/a/b:1"],
            ),
            (
                &[
                    "--registry-map=ghcr.io=a.example/x;GHCR.io=a.example/x",
                    "--skip-default-registry-fallback",
                ],
                "ghcr.io/a/b:1",
                &["a.example/x/a/b:1"],
            ),
            (
                &["--registry-map=ghcr.io=a.example", "--skip-default-registry-fallback"],
                "quay.io/a/b:1",
                &["quay.io/a/b:1"],
            ),
        ] {
            assert_eq!(places(arguments, image), expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_by_flag_and_value() {
        for (argument, expected) in [
            ("--registry-mirror=https://a.example", "scheme"),
            ("--registry-mirror=a b", "host name"),
            ("--registry-map=ghcr.io=", "empty"),
            ("--registry-map==a.example", "empty"),
            ("--registry-map=a.example;ghcr.io=b.example", "REGISTRY=HOST[/PATH]"),
            ("--registry-map=ghcr.io=a.example/X", "lower case"),
        ] {
            let message = from(&[argument]).unwrap_err().to_string();
            let (flag, value) = argument.split_once('=').unwrap();
            assert!(message.contains(flag) && message.contains(value), "{message}");
            assert!(message.contains(expected), "{argument}: {message}");
        }
    }
}
