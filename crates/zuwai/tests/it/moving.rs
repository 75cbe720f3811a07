//! `push`, `pull`, `copy`, `inspect`: real archives, layouts and registries, read back by skopeo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use zuwai_testkit::Registry;
use zuwai_testkit::archive::{Attributes, Writer, hex};
use zuwai_testkit::base::Base;
use zuwai_testkit::command::{Finished, clean, must, must_run, program, run};
use zuwai_testkit::need::{REGISTRY, needs};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry with `busybox` and a directory.
struct Place {
    registry: Registry,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let registry = Registry::plain();
        Base::Busybox.push(&registry);
        Self { registry, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.registry.reference(name)
    }

    /// Runs a face; DIR and REGISTRY in the arguments are this place's.
    fn try_run(&self, face: &[&str]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zuwai"));
        clean(&mut command);
        command.env("HOME", self.path("home")).env("KANIKO_DIR", self.path("kaniko"));
        let (dir, registry) = (self.dir.path().display().to_string(), self.registry.address());
        command.args(face.iter().map(|word| word.replace("DIR", &dir).replace("REGISTRY", &registry)));
        run(&mut command)
    }

    /// As [`Place::try_run`], for what must succeed: its standard output without the line's end.
    fn run(&self, face: &[&str]) -> String {
        let finished = self.try_run(face);
        assert_eq!(finished.code, 0, "{face:?}: {}", finished.all());
        finished.stdout.trim_end().to_owned()
    }

    fn skopeo_copy(&self, from: &str, to: &str) {
        let (from, to) = [from, to]
            .map(|place| place.replace("DIR", self.dir.path().to_str().unwrap()))
            .map(|place| place.replace("REGISTRY", &self.registry.address()))
            .into();
        let flags = ["copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
        must("skopeo", flags.into_iter().chain([from.as_str(), to.as_str()]));
    }

    /// The manifest that a name in the registry has, and its digest.
    fn manifest(&self, name: &str) -> (Value, String) {
        let name = format!("docker://{}", self.name(name));
        let raw = must("skopeo", ["inspect", "--raw", "--tls-verify=false", &name]);
        (serde_json::from_str(&raw).unwrap(), format!("sha256:{}", sha256(raw.as_bytes())))
    }

    fn diff_ids(&self, name: &str) -> Value {
        let name = format!("docker://{}", self.name(name));
        let config = must("skopeo", ["inspect", "--config", "--tls-verify=false", &name]);
        serde_json::from_str::<Value>(&config).unwrap()["rootfs"]["diff_ids"].clone()
    }

    fn put(&self, path: &str, media_type: &str, content: &[u8]) {
        let file = self.path("put");
        fs::write(&file, content).unwrap();
        let header = format!("Content-Type: {media_type}");
        let data = format!("@{}", file.display());
        let url = format!("{}/v2/{path}", self.registry.url());
        must_run(program("curl").args(["-sf", "-X", "PUT", "-H", &header, "--data-binary", &data, &url]));
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex(&Sha256::digest(bytes))
}

#[test]
fn archives_of_other_tools_are_pushed_with_their_layers() {
    if !needs(REGISTRY) {
        return;
    }
    let place = Place::new();
    let (_, digest) = place.manifest("busybox:latest");
    let diff_ids = place.diff_ids("busybox:latest");
    for to in ["oci:DIR/layout:1", "oci-archive:DIR/oci.tar:1", "docker-archive:DIR/docker.tar:h.io/b:1"] {
        place.skopeo_copy("docker://REGISTRY/busybox:latest", to);
    }
    let docker = place.path("docker.tar");
    must_run(program("gzip").arg("--keep").arg(&docker));
    for (source, same_digest) in [
        ("DIR/layout", true),
        ("oci:DIR/layout:1", true),
        ("DIR/oci.tar", true),
        ("oci-archive:DIR/oci.tar:1", true),
        ("DIR/docker.tar", false),
        ("DIR/docker.tar.gz", false),
        ("docker-archive:DIR/docker.tar:h.io/b:1", false),
        ("docker-archive:DIR/docker.tar:@0", false),
    ] {
        let printed = place.run(&["push", "-q", source, "REGISTRY/out:1"]);
        let (manifest, pushed) = place.manifest("out:1");
        assert_eq!(printed, pushed, "{source}");
        assert_eq!(pushed == digest, same_digest, "{source}");
        assert_eq!(place.diff_ids("out:1"), diff_ids, "{source}");
        let layers = manifest["layers"].as_array().unwrap();
        assert!(
            layers.iter().all(|layer| layer["mediaType"].as_str().unwrap().ends_with("gzip")),
            "{source}"
        );
    }
    // Layers of an archive are compressed to the same bytes every time, wherever they were.
    let (_, first) = place.manifest("out:1");
    let said =
        place.try_run(&["executor", "push", "-d", "REGISTRY/e:1", "-d", "REGISTRY/e:2", "DIR/docker.tar"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.all());
    for line in ["Pushing image to", "Pushed"] {
        assert_eq!(said.stderr.matches(line).count(), 2, "{}", said.all());
    }
    assert_eq!(place.manifest("e:2").1, first);
    assert!(
        !place.path("home/.local/share/zuwai/build-0").exists() && !place.path("kaniko/build-0").exists()
    );
}

#[test]
fn an_index_with_attestations_moves_whole_and_byte_by_byte() {
    if !needs(REGISTRY) {
        return;
    }
    let place = Place::new();
    let (_, image) = place.manifest("busybox:latest");
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#;
    let unknown = b"not a layer";
    for blob in [&statement[..], unknown, b"{}"] {
        let url = must_run(
            program("curl")
                .args(["-sf", "-X", "POST", "-D", "-", "-o", "/dev/null"])
                .arg(format!("{}/v2/busybox/blobs/uploads/", place.registry.url())),
        );
        let location =
            url.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim().to_owned();
        let file = place.path("blob");
        fs::write(&file, blob).unwrap();
        must_run(program("curl").args([
            "-sf",
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/octet-stream",
            "--data-binary",
            &format!("@{}", file.display()),
            &format!("{location}&digest=sha256:{}", sha256(blob)),
        ]));
    }
    let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()});
    let attestation = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [described("application/vnd.in-toto+json", statement), described("application/x.unknown", unknown)],
    })
    .to_string();
    let digest = format!("sha256:{}", sha256(attestation.as_bytes()));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    place.put(&format!("busybox/manifests/{digest}"), media_type, attestation.as_bytes());
    let name = format!("docker://{}", place.name("busybox:latest"));
    let raw = must("skopeo", ["inspect", "--raw", "--tls-verify=false", &name]);
    let own: Value = serde_json::from_str(&raw).unwrap();
    let mut known = described(own["mediaType"].as_str().unwrap_or(media_type), raw.as_bytes());
    known["platform"] = json!({"architecture": zuwai_testkit::base::architecture(), "os": "linux"});
    let mut about = described(media_type, attestation.as_bytes());
    about["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    about["annotations"] = json!({"vnd.docker.reference.digest": image});
    // Spaces that no writer of ours puts there.
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [known, about]});
    let index = format!(" {index:#} ");
    place.put("busybox/manifests/index", INDEX, index.as_bytes());
    let top = format!("sha256:{}", sha256(index.as_bytes()));

    assert_eq!(place.run(&["copy", "-q", "REGISTRY/busybox:index", "REGISTRY/other:1"]), top);
    assert_eq!(place.run(&["pull", "-q", "--all-platforms", "REGISTRY/busybox:index", "DIR/whole"]), top);
    assert_eq!(place.run(&["copy", "-q", "oci:DIR/whole:index", "oci-archive:DIR/whole.tar:t"]), top);
    assert_eq!(place.run(&["push", "-q", "DIR/whole.tar", "REGISTRY/another/one:1"]), top);
    for repository in ["other", "another/one"] {
        assert_eq!(place.manifest(&format!("{repository}:1")).1, top);
        place.manifest(&format!("{repository}@{digest}"));
        for blob in [&statement[..], unknown] {
            let url = format!("{}/v2/{repository}/blobs/sha256:{}", place.registry.url(), sha256(blob));
            assert_eq!(must_run(program("curl").args(["-sf", &url])).as_bytes(), blob);
        }
    }
    assert_eq!(place.run(&["inspect", "--raw", "REGISTRY/other:1"]), index.trim_end());
    let shown: Value = serde_json::from_str(&place.run(&["inspect", "oci-archive:DIR/whole.tar"])).unwrap();
    assert_eq!(shown["digest"], top);
    assert_eq!(shown["platforms"].as_array().unwrap().len(), 1);
    assert_eq!(shown["manifests"].as_array().unwrap().len(), 2);

    // One image of it.
    assert_eq!(place.run(&["pull", "-q", "REGISTRY/busybox:index", "DIR/one"]), image);
    let config = place.run(&["inspect", "--config", "REGISTRY/other:1"]);
    assert_eq!(serde_json::from_str::<Value>(&config).unwrap()["os"], "linux");
}

#[test]
fn an_image_is_of_the_family_that_was_asked_for() {
    if !needs(REGISTRY) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("context")).unwrap();
    fs::write(
        place.path("context/Dockerfile"),
        format!("FROM {}\nCOPY Dockerfile /x\n", place.name("busybox")),
    )
    .unwrap();
    for (format, family) in [("docker", "application/vnd.docker."), ("oci", "application/vnd.oci.")] {
        let tag = format!("REGISTRY/built:{format}");
        let format = format!("--format={format}");
        place.run(&["build", "-q", "--root-dir=DIR/root", &format, "--push", "-t", &tag, "DIR/context"]);
        let (manifest, _) = place.manifest(&tag.replace("REGISTRY/", ""));
        let mut types = vec![&manifest["mediaType"], &manifest["config"]["mediaType"]];
        types.extend(manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]));
        assert_eq!(types.len(), 4);
        assert!(types.iter().all(|name| name.as_str().unwrap().starts_with(family)), "{types:?}");
    }
    let (_, digest) = place.manifest("built:docker");
    let copied =
        place.run(&["copy", "-q", "--image-format=docker", "REGISTRY/built:oci", "REGISTRY/copied:1"]);
    assert_eq!(place.manifest("copied:1").1, copied);
    assert_eq!(place.diff_ids("copied:1").as_array().unwrap().len(), 2);
    assert_ne!(digest, place.manifest("built:oci").1);
    // A base that Docker's format cannot hold is found before anything is built.
    let zstd = [
        "build",
        "-q",
        "--root-dir=DIR/root",
        "--compression=zstd",
        "--push",
        "-t",
        "REGISTRY/zstd:1",
        "DIR/context",
    ];
    place.run(&zstd);
    fs::write(place.path("context/Dockerfile"), format!("FROM {}\nRUN false\n", place.name("zstd:1")))
        .unwrap();
    let said = place.try_run(&["build", "-q", "--root-dir=DIR/root", "--format=docker", "DIR/context"]);
    assert!(said.code == 1 && said.stderr.contains("no zstd layers"), "{}", said.all());
}

#[test]
fn a_push_without_a_destination_takes_the_archives_own_name() {
    if !needs(REGISTRY) {
        return;
    }
    let place = Place::new();
    let (_, digest) = place.manifest("busybox:latest");
    place.run(&["pull", "-q", "REGISTRY/busybox", "-o", "type=docker,dest=DIR/b.tar,name=REGISTRY/own:1"]);
    assert_eq!(place.run(&["push", "-q", "DIR/b.tar"]), place.manifest("own:1").1);
    place.run(&["pull", "-q", "REGISTRY/busybox"]);
    let layout = place.registry.address().replace(':', "_");
    let layout = format!("DIR/home/.local/share/zuwai/images/{layout}/busybox/latest");
    assert_eq!(place.run(&["push", "-q", &layout]), digest);
    place.run(&["copy", "-q", "REGISTRY/busybox", "oci:DIR/tagged:t"]);
    let said = place.try_run(&["push", "DIR/tagged"]);
    assert!(said.code == 1 && said.stderr.contains("no name that says where"), "{}", said.all());
}

/// A tar of these files.
fn archive(path: &Path, files: &[(&str, &[u8])]) {
    let mut writer = Writer::new(fs::File::create(path).unwrap());
    for (name, content) in files {
        writer.file(name, &Attributes::mode(0o644), content);
    }
    writer.finish();
}

#[test]
fn hostile_and_broken_archives_are_refused_before_anything_is_pushed() {
    if !needs(REGISTRY) {
        return;
    }
    let place = Place::new();
    let layer = vec![0_u8; 1024];
    let config = |diff_id: &str| {
        json!({"architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]}})
        .to_string()
    };
    let right = config(&sha256(&layer));
    let wrong = config(&sha256(b"other"));
    let manifest = |layers: Value| {
        json!([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": layers}]).to_string().into_bytes()
    };
    let (one, two) = (manifest(json!(["l.tar"])), manifest(json!(["l.tar", "l.tar"])));
    let several = json!([{"Config": "c.json", "Layers": []}, {"Config": "d.json", "Layers": []}]).to_string();
    let (right, wrong, layer) = (right.as_bytes(), wrong.as_bytes(), layer.as_slice());
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(&str, (Files<'_>, &str)); 12] = [
        ("whole", (&[("manifest.json", one.as_slice()), ("c.json", right), ("l.tar", layer)][..], "")),
        ("empty", (&[], "holds no image")),
        ("other", (&[("etc/passwd", b"x")], "holds no image")),
        ("legacy", (&[("repositories", b"{}")], "only the older file repositories")),
        ("no config", (&[("manifest.json", &one), ("l.tar", layer)], "c.json is missing")),
        ("no layer", (&[("manifest.json", &one), ("c.json", right)], "l.tar is missing")),
        ("twice", (&[("manifest.json", &one), ("manifest.json", &one)], "manifest.json is in it twice")),
        (
            "other layer",
            (&[("manifest.json", &one), ("c.json", wrong), ("l.tar", layer)], "but the image's config says"),
        ),
        (
            "too many",
            (
                &[("manifest.json", &two), ("c.json", right), ("l.tar", layer)],
                "2 layers, but the image config has 1",
            ),
        ),
        ("no json", (&[("manifest.json", b"[")], "manifest.json cannot be used")),
        ("several", (&[("manifest.json", several.as_bytes())], "it has 2 images: c.json, d.json")),
        ("no layout", (&[("oci-layout", b"{}"), ("index.json", b"{}")], "its index cannot be used")),
    ];
    for (name, (files, expected)) in cases {
        let path = place.path("case.tar");
        archive(&path, files);
        let said = place.try_run(&["push", "DIR/case.tar", "REGISTRY/hostile:1"]);
        if expected.is_empty() {
            assert_eq!(said.code, 0, "{name}: {}", said.all());
            continue;
        }
        assert!(said.code == 1 && said.stderr.contains(expected), "{name}: {}", said.all());
        assert!(
            said.stderr.contains("case.tar") && said.stderr.contains("\nhint: "),
            "{name}: {}",
            said.all()
        );
        assert!(!said.all().contains("Pushing image"), "{name}: {}", said.all());
    }
    let path = place.path("case.tar");
    fs::write(&path, b"no tar at all, but long enough to be looked at".repeat(40)).unwrap();
    let said = place.try_run(&["push", "DIR/case.tar", "REGISTRY/hostile:1"]);
    assert!(said.code == 1 && said.stderr.contains("cannot be read as a tar"), "{}", said.all());
}
