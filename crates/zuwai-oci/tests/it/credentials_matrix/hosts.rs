//! Hosts by name, as real builds have them: siblings, look-alikes, other ports, mirrors, hosts that redirects and realms
//! lead to. A proxy stands for all of them, and one host is reached past it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zuwai_oci::credentials::{Credentials, DockerConfig};
use zuwai_oci::place::Place;
use zuwai_oci::registry::{Mirrors, Proxies};
use zuwai_oci::{Descriptor, Family, MediaType, Registry, RegistryOptions};

use super::recorder::{ACCESS, Form, MIRROR, PASSWORD, PROXY, SIBLING, SIGNATURE, check_place, check_text};
use super::{everything, log, scene};
use crate::sample::{empty_store, image, impatient, reference};
use crate::stub::{Asked, Reply, Stub};

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A manifest is there.
    Pull(&'static str),
    /// A manifest is not there or not for us.
    Fail(&'static str),
    /// A blob is fetched.
    Fetch(&'static str),
    /// A blob goes from the second repository to the first, without staying here.
    Stream(&'static str, &'static str),
    /// An image is pushed.
    Push(&'static str),
}
use Act::{Fail, Fetch, Pull, Push, Stream};

/// Whose credentials there are, which registry has which mirror, what is done, and what is shown where. A registry's
/// namespaces are places of their own.
struct Row {
    name: &'static str,
    known: &'static [(&'static str, &'static str)],
    mirrors: &'static [(&'static str, &'static str)],
    acts: &'static [Act],
    shown: &'static [(&'static str, Form)],
}

const OWN: Form = Form::Basic("user", PASSWORD);
const OTHERS: Form = Form::Basic("user", SIBLING);
const MIRRORS: Form = Form::Basic("user", MIRROR);
const SIGNED: Form = Form::Query(SIGNATURE);
const TOKEN: Form = Form::Bearer(ACCESS);

const ROWS: &[Row] = &[
    Row {
        name: "siblings in one registry",
        known: &[("registry.example/team-a", PASSWORD), ("registry.example/team-b", SIBLING)],
        mirrors: &[],
        acts: &[
            Pull("registry.example/team-a/x:known"),
            Push("registry.example/team-a/x:1"),
            // Mounts from the first, with what the second may.
            Push("registry.example/team-b/x:1"),
            Fail("registry.example/team-ab/x:known"),
            Fail("registry.example/team/x:known"),
        ],
        shown: &[("registry.example/team-a", OWN), ("registry.example/team-b", OTHERS)],
    },
    Row {
        name: "siblings before one token server",
        known: &[("token.example/team-a", PASSWORD), ("token.example/team-b", SIBLING)],
        mirrors: &[],
        acts: &[Push("token.example/team-b/x:1")],
        shown: &[("auth.example", OTHERS), ("token.example/team-b", TOKEN)],
    },
    Row {
        name: "hosts that look alike",
        known: &[("registry.example", PASSWORD)],
        mirrors: &[],
        acts: &[
            Pull("registry.example/t/x:known"),
            Fail("registry.example:5000/t/x:known"),
            Fail("registry.example:80/t/x:known"),
            Fail("registry.example.evil.example/t/x:known"),
            Fail("www.registry.example/t/x:known"),
            Fail("xregistry.example/t/x:known"),
            Fail("registry-example/t/x:known"),
        ],
        shown: &[("registry.example/t", OWN)],
    },
    Row {
        name: "a port's credential",
        known: &[("registry.example:5000", PASSWORD)],
        mirrors: &[],
        acts: &[
            Pull("registry.example:5000/t/x:known"),
            Fail("registry.example/t/x:known"),
            Fail("registry.example:5001/t/x:known"),
        ],
        shown: &[("registry.example:5000/t", OWN)],
    },
    Row {
        name: "redirects to other hosts and ports, and back",
        known: &[("registry.example", PASSWORD), ("other.example", SIBLING)],
        mirrors: &[],
        acts: &[
            Fail("registry.example/t/x:to-port"),
            Fail("registry.example/t/x:to-look-alike"),
            Fail("registry.example/t/x:to-other"),
            Pull("registry.example/t/x:and-back"),
        ],
        shown: &[("registry.example/t", OWN)],
    },
    Row {
        name: "a realm on a host with credentials of its own",
        known: &[("token.example", PASSWORD), ("auth.example", SIBLING)],
        mirrors: &[],
        acts: &[Pull("token.example/t/x:known"), Push("token.example/t/x:1")],
        shown: &[("auth.example", OWN), ("token.example/t", TOKEN)],
    },
    Row {
        name: "a realm that leads elsewhere",
        known: &[("moving.example", PASSWORD)],
        mirrors: &[],
        acts: &[Fail("moving.example/t/x:known")],
        shown: &[("auth.example", OWN)],
    },
    Row {
        name: "a token that ends while an image is pushed",
        known: &[("ending.example", PASSWORD)],
        mirrors: &[],
        acts: &[Push("ending.example/t/x:1")],
        shown: &[("auth.example", OWN), ("ending.example/t", TOKEN)],
    },
    Row {
        name: "a mirror with credentials of its own",
        known: &[("registry.example", PASSWORD), ("mirror.example", MIRROR)],
        mirrors: &[("registry.example", "mirror.example/hub")],
        acts: &[
            Pull("registry.example/t/x:known"),
            Fetch("registry.example/t/x"),
            Push("registry.example/t/y:1"),
        ],
        shown: &[("mirror.example/hub", MIRRORS), ("registry.example/t", OWN), ("storage.example", SIGNED)],
    },
    Row {
        name: "a mirror without credentials",
        known: &[("registry.example", PASSWORD)],
        mirrors: &[("registry.example", "mirror.example/hub")],
        acts: &[Pull("registry.example/t/x:known"), Fetch("registry.example/t/x")],
        shown: &[("registry.example/t", OWN), ("storage.example", SIGNED)],
    },
    Row {
        name: "a mirror that has not everything",
        known: &[("registry.example", PASSWORD), ("mirror.example", MIRROR)],
        mirrors: &[("registry.example", "mirror.example/hub")],
        acts: &[Pull("registry.example/only/x:known"), Fetch("registry.example/only/x")],
        shown: &[
            ("mirror.example/hub", MIRRORS),
            ("registry.example/only", OWN),
            ("storage.example", SIGNED),
        ],
    },
    Row {
        name: "from a registry's mirror to another registry",
        known: &[("registry.example", PASSWORD), ("token.example", SIBLING), ("mirror.example", MIRROR)],
        mirrors: &[("token.example", "mirror.example/hub")],
        acts: &[Stream("registry.example/t/y", "token.example/t/x")],
        shown: &[("registry.example/t", OWN), ("mirror.example/hub", MIRRORS), ("storage.example", SIGNED)],
    },
    Row {
        name: "from a registry whose mirror has not everything to another",
        known: &[("registry.example", PASSWORD), ("token.example", SIBLING), ("mirror.example", MIRROR)],
        mirrors: &[("token.example", "mirror.example/hub")],
        acts: &[Stream("registry.example/t/y", "token.example/only/x")],
        shown: &[
            ("registry.example/t", OWN),
            ("mirror.example/hub", MIRRORS),
            ("auth.example", OTHERS),
            ("token.example/only", TOKEN),
            ("storage.example", SIGNED),
        ],
    },
    Row {
        name: "past the proxy",
        known: &[("direct.example", PASSWORD)],
        mirrors: &[],
        acts: &[Pull("direct.example/t/x:known"), Fetch("direct.example/t/x"), Push("direct.example/t/y:1")],
        shown: &[("direct.example/t", OWN), ("direct", SIGNED)],
    },
];

/// The servers: all that are behind the proxy, and one that is not.
struct World {
    proxy: Stub,
    direct: Arc<Stub>,
}

impl World {
    fn new(blob: &'static [u8], manifest: Vec<u8>) -> Self {
        let stored = move |asked: &Asked| match asked.method.as_str() {
            "GET" => Reply::body(200, blob),
            "PATCH" => Reply::status(202).header("Location", asked.target.clone()),
            _ => Reply::status(201),
        };
        let direct = Arc::new(Stub::start(move |asked| Some(stored(asked))));
        let elsewhere = format!("http://{}", direct.address);
        let commits = AtomicUsize::new(0);
        let proxy = Stub::start(move |asked| {
            let Some((host, target)) = split(&asked.target) else { return Some(Reply::status(502)) };
            let asked = Asked { target: target.to_owned(), ..asked.clone() };
            let commit = asked.method == "PUT" && target.contains("/manifests/");
            Some(match (host, target) {
                ("storage.example", _) => stored(&asked),
                ("auth.example", _) if target.starts_with("/moved") => {
                    Reply::status(307).header("Location", "http://evil.example/token")
                }
                ("auth.example", _) => {
                    Reply::body(200, format!("{{\"token\": \"{ACCESS}\", \"expires_in\": 300}}"))
                }
                ("other.example", "/back") => redirect("http://registry.example/v2/t/x/manifests/known"),
                ("ending.example", _) if commit && commits.fetch_add(1, Ordering::SeqCst) == 0 => {
                    challenged(host)
                }
                _ if asked.authorization.is_none() => challenged(host),
                ("mirror.example", _) if target.starts_with("/v2/hub/only/") => Reply::status(404),
                ("direct.example", _) => scene::open(&asked, &elsewhere, &manifest),
                _ => match target.rsplit('/').next() {
                    Some("to-port") => redirect("http://registry.example:5000/v2/t/x/manifests/known"),
                    Some("to-look-alike") => redirect("http://registry.example.evil.example/v2/"),
                    Some("to-other") => redirect("http://other.example/v2/t/x/manifests/known"),
                    Some("and-back") => redirect("http://other.example/back"),
                    _ => scene::open(&asked, "http://storage.example", &manifest),
                },
            })
        });
        Self { proxy, direct }
    }

    /// What was asked at each place, without what the proxy itself was shown.
    fn asked(&self) -> Vec<(String, Vec<Asked>)> {
        let mut places: Vec<(String, Vec<Asked>)> = vec![("direct".to_owned(), self.direct.all_asked())];
        for mut asked in self.proxy.all_asked() {
            let shown = Form::Proxy("proxy", PROXY).take_from(&mut asked);
            assert!(shown, "the proxy was not shown who asks: {asked:?}");
            let Some((host, target)) = split(&asked.target) else {
                // Not a header but its own goes to a proxy that is to open a way.
                assert_eq!((asked.method.as_str(), asked.authorization.as_ref()), ("CONNECT", None));
                continue;
            };
            let repository = target.strip_prefix("/v2/").and_then(|path| path.split_once('/'));
            let place = repository.map_or_else(|| host.to_owned(), |(first, _)| format!("{host}/{first}"));
            asked.target = target.to_owned();
            match places.iter_mut().find(|(own, _)| *own == place) {
                Some((_, all)) => all.push(asked),
                None => places.push((place, vec![asked])),
            }
        }
        places
    }
}

/// Host, and path with query, of what a proxy is asked for.
fn split(target: &str) -> Option<(&str, &str)> {
    let rest = target.strip_prefix("http://")?;
    Some(rest.split_at(rest.find('/')?))
}

fn redirect(address: &str) -> Reply {
    Reply::status(307).header("Location", address)
}

/// What a host asks for.
fn challenged(host: &str) -> Reply {
    let challenge = match host {
        "token.example" | "ending.example" => "Bearer realm=\"http://auth.example/token\",service=\"s\"",
        "moving.example" => "Bearer realm=\"http://auth.example/moved\",service=\"s\"",
        _ => "Basic realm=\"here\"",
    };
    Reply::status(401).header("WWW-Authenticate", challenge)
}

fn client(row: &Row, world: &World) -> Registry {
    let mut credentials = Credentials::default();
    for (key, password) in row.known {
        let text = format!(r#"{{"auths": {{"{key}": {{"username": "user", "password": "{password}"}}}}}}"#);
        credentials.add_document(DockerConfig::parse(Path::new("config.json"), text.as_bytes()).unwrap());
    }
    let mut mirrors = Mirrors::default();
    for (registry, place) in row.mirrors {
        mirrors.add(registry, Place::parse(place).unwrap());
    }
    let password: String = url::form_urlencoded::byte_serialize(PROXY.as_bytes()).collect();
    let proxy = format!("http://proxy:{password}@{}", world.proxy.address);
    Registry::new(RegistryOptions {
        insecure: true,
        insecure_pull: true,
        proxies: Proxies::new(&proxy, &proxy, "").unwrap(),
        credentials,
        mirrors,
        retry: impatient(),
        ..RegistryOptions::default()
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nearly_the_same_is_another() {
    const BLOB: &[u8] = b"a blob";
    log::keep();
    let sample = image(Family::Oci, "hosts");
    let blob = Descriptor::of(MediaType::OciLayer, BLOB);
    for row in ROWS {
        let world = World::new(BLOB, sample.image.manifest_bytes().to_vec());
        let client = client(row, &world);
        let mut said = format!("{client:?} {:?}", client.options());
        for act in row.acts {
            let what = format!("{}: {act:?}", row.name);
            let (_directory, empty) = empty_store();
            let done = match act {
                Pull(name) | Fail(name) => client.manifest(&reference(name)).await.map(drop),
                Fetch(name) => client.fetch_blob(&reference(name), &blob, &empty).await.map(drop),
                Stream(to, from) => {
                    client.push_blob(&reference(to), &blob, &empty, Some(&reference(from))).await
                }
                Push(name) => client.push(&sample.image, &sample.store, &reference(name)).await,
            };
            match (act, done) {
                (Fail(_), Err(error)) => said += &everything(error),
                (Fail(_), Ok(())) => panic!("{what}: it went well"),
                (_, Err(error)) => panic!("{what}: {}", everything(error)),
                (_, Ok(())) => {}
            }
        }
        check_text(row.name, &said);
        let asked = world.asked();
        for (place, _) in row.shown {
            assert!(asked.iter().any(|(own, _)| own == place), "{}: {place} was never asked", row.name);
        }
        for (place, asked) in asked {
            let shown = row.shown.iter().filter(|(own, _)| *own == place);
            let allowed: Vec<Form> = shown.map(|(_, form)| form.clone()).collect();
            check_place(row.name, &place, asked, &allowed);
        }
    }
    check_text("the log", &log::text());
}
