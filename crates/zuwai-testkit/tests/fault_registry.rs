//! The registry with faults on command is a registry to clients that are not ours, and its faults are what they say.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::disallowed_methods)]

use std::path::Path;
use std::time::{Duration, SystemTime};

use zuwai_testkit::command::{must, program, run};
use zuwai_testkit::fault_registry::{
    Cut, Fault, FaultRegistry, Lifetime, Loss, Operation, Place, Redirect, RetryAfter,
};
use zuwai_testkit::need::{Need, needs};
use zuwai_testkit::registry::{PASSWORD, USER};
use zuwai_testkit::tcp_fault::{TcpFault, Way, Weather};

/// Sizes of the bodies here.
const SIZE: usize = 100_000;

/// curl's exit code, and the answer's status, headers and body.
fn curl(arguments: &[&str]) -> (i32, String) {
    let finished = run(program("curl").args(["-s", "-i", "--max-time", "10"]).args(arguments));
    (finished.code, finished.stdout)
}

/// A registry with a blob of `SIZE` bytes in `a/b`; its address is the second.
fn with_blob() -> (FaultRegistry, String) {
    let registry = FaultRegistry::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789".repeat(SIZE / 10)).unwrap();
    let digest = registry.put_blob("a/b", file.path());
    let url = format!("http://{}/v2/a/b/blobs/{digest}", registry.address());
    (registry, url)
}

/// An OCI layout with one small image, tagged `x`.
fn layout(dir: &Path) {
    let layer = dir.join("layer.tar");
    std::fs::write(dir.join("file"), "content").unwrap();
    must(
        "tar",
        ["-C".into(), dir.display().to_string(), "-cf".into(), layer.display().to_string(), "file".into()],
    );
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {}});
    zuwai_testkit::layout::write(&dir.join("layout"), &[layer], config);
}

#[test]
fn skopeo_pushes_mounts_and_pulls_what_it_pushed() {
    if !needs(&[Need::Program("skopeo")]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    layout(scratch.path());
    let source = format!("oci:{}", scratch.path().join("layout").display());
    let credentials = format!("{USER}:{PASSWORD}");
    for registry in [FaultRegistry::start(), FaultRegistry::bearer(Lifetime::LONG)] {
        let copy = |from: &str, to: &str| {
            let mut skopeo = program("skopeo");
            skopeo.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
            for (flag, name) in [("--src-creds", from), ("--dest-creds", to)] {
                if name.starts_with("docker:") {
                    skopeo.args([flag, &credentials]);
                }
            }
            let finished = run(skopeo.args([from, to]));
            assert!(finished.code == 0, "{}\n{:#?}", finished.all(), registry.log());
        };
        let name = format!("docker://{}", registry.reference("a/b:1"));
        let pulled = scratch.path().join(format!("pulled-{}", registry.address()));
        copy(&source, &name);
        copy(&name, &format!("docker://{}", registry.reference("c/d:2")));
        copy(&name, &format!("dir:{}", pulled.display()));
        let manifest = std::fs::read(pulled.join("manifest.json")).unwrap();
        assert_eq!(registry.manifest("a/b", "1"), Some(manifest.clone()));
        assert_eq!(registry.manifest("c/d", "2"), Some(manifest));
        assert_eq!(registry.blobs("a/b"), registry.blobs("c/d"));
        assert!(registry.count(Operation::Mount) > 0, "skopeo mounts between repositories");
    }
}

#[test]
fn blobs_come_whole_and_in_parts_and_damaged_as_ordered() {
    let (registry, url) = with_blob();
    let ranged = ["-r", "99990-", &url];
    let (code, shown) = curl(&ranged);
    assert!(code == 0 && shown.contains("206") && shown.ends_with("0123456789"), "{shown}");
    assert!(shown.contains("bytes 99990-99999/100000"), "{shown}");
    assert!(curl(&["-r", "100000-", &url]).1.contains(" 416 "));

    let length = |shown: &str| shown.split_once("\r\n\r\n").unwrap().1.len();
    registry.fault(Operation::BlobGet, Fault::CutAnswer { after: 777, how: Cut::Reset });
    let (code, shown) = curl(&[&url]);
    assert_eq!((code, length(&shown)), (56, 777), "the connection is reset");
    registry.fault(Operation::BlobGet, Fault::CutAnswer { after: 777, how: Cut::Close });
    let (code, shown) = curl(&[&url]);
    assert_eq!((code, length(&shown)), (18, 777), "the connection is closed early");
    registry.fault(Operation::BlobGet, Fault::WrongLength(5));
    assert_eq!(curl(&[&url]).0, 18);
    registry.fault(Operation::BlobGet, Fault::CutAnswer { after: 777, how: Cut::Stall });
    assert_eq!(curl(&["--max-time", "1", &url]).0, 28);
    registry.fault(Operation::BlobGet, Fault::Silent);
    assert_eq!(curl(&["--max-time", "1", &url]).0, 28);
    registry.fault(Operation::BlobGet, Fault::Reset);
    assert_eq!(curl(&[&url]).0, 56);
    registry.fault(Operation::BlobGet, Fault::Corrupt { at: 3 });
    assert!(curl(&[&url]).1.contains("\r\n\r\n0122456789"));
    registry.fault(Operation::BlobGet, Fault::RangeIgnored);
    assert!(curl(&ranged).1.contains(" 200 "));
    registry.fault(Operation::BlobGet, Fault::RangeShifted(2));
    assert!(curl(&ranged).1.ends_with("\r\n23456789"));
    registry.fault(Operation::BlobGet, Fault::Drip(Duration::from_millis(1)));
    assert!(curl(&ranged).1.ends_with("\r\n0123456789"));
    assert!(curl(&[&url]).1.contains(" 200 "), "all is over");
}

#[test]
fn redirects_lead_where_they_are_told_to() {
    let (registry, url) = with_blob();
    registry.fault(Operation::BlobGet, Fault::Redirect(Redirect::Expired));
    registry.fault(Operation::BlobGet, Fault::Redirect(Redirect::Storage));
    assert!(curl(&["-L", &url]).1.contains(" 403 "));
    assert!(curl(&["-L", &url]).1.ends_with("0123456789"));
    let log = registry.log();
    let storage: Vec<u16> = log.iter().filter(|entry| entry.is_storage).map(|entry| entry.status).collect();
    assert_eq!(storage, [403, 200]);
    registry.fault(Operation::BlobGet, Fault::Redirect(Redirect::Loop)).always();
    assert_eq!(curl(&["-L", &url]).0, 47, "too many redirects");
}

#[test]
fn refusals_say_when_to_come_again() {
    let (registry, url) = with_blob();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let rule =
        registry.fault(Operation::BlobGet, Fault::Later(429, RetryAfter::Date(date))).after(1).times(2);
    let statuses: Vec<bool> = (0..4)
        .map(|_| {
            let shown = curl(&[&url]).1;
            let date = shown.contains("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT");
            assert_eq!(shown.contains(" 429 "), date, "{shown}");
            date
        })
        .collect();
    assert_eq!(statuses, [false, true, true, false]);
    assert_eq!(rule.happened(), 2);
    registry.fault(Operation::BlobGet, Fault::Later(503, RetryAfter::Seconds(7)));
    assert!(curl(&[&url]).1.contains("Retry-After: 7\r\n"));
}

#[test]
fn uploads_go_on_where_they_were_cut() {
    let (registry, _) = with_blob();
    let base = format!("http://{}", registry.address());
    let start = format!("{base}/v2/a/b/blobs/uploads/");
    let location = |shown: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        line.trim().to_owned()
    };
    let upload = location(&curl(&["-X", "POST", &start]).1);
    let patch = |range: &str, data: &str| {
        let range = format!("Content-Range: {range}");
        curl(&["-X", "PATCH", "-H", &range, "--data-binary", data, &upload])
    };
    assert!(patch("0-9", "0123456789").1.contains("Range: 0-9\r\n"));
    registry.fault(Operation::UploadPatch, Fault::CutRequest { after: 8, keep: 5 });
    assert_eq!(patch("10-19", "abcdefghij").0, 56);
    assert!(patch("10-19", "abcdefghij").1.contains(" 416 "), "only five bytes of them came");
    assert!(curl(&[&upload]).1.contains("Range: 0-14\r\n"));
    registry.fault(Operation::UploadPatch, Fault::BodyLimit(4)).always();
    assert!(patch("15-19", "fghij").1.contains(" 413 "));
    assert!(patch("15-18", "fghi").1.contains(" 202 "));
    // What `printf 0123456789abcdefghi | sha256sum` says.
    let digest = "sha256:d9c76b757b03647bf70b1c1eb238dbc0cf235367af8c7a42a544a7cc4c015032";
    assert!(curl(&["-X", "PUT", &format!("{upload}&digest={digest}")]).1.contains(" 201 "));
    assert!(registry.blobs("a/b").contains(digest));
    let upload = location(&curl(&["-X", "POST", &start]).1);
    assert!(curl(&["-X", "PUT", &format!("{upload}&digest={digest}")]).1.contains("DIGEST_INVALID"));

    registry.fault(Operation::UploadCommit, Fault::Lost(Loss::Status(404, "BLOB_UPLOAD_UNKNOWN")));
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let upload = location(&curl(&["-X", "POST", &start]).1);
    assert!(curl(&["-X", "PUT", &format!("{upload}&digest={empty}")]).1.contains(" 404 "));
    assert!(registry.blobs("a/b").contains(empty), "it was there in the end");

    for (place, prefix) in [
        (Place::Path, "/v2/a/b/".to_owned()),
        (Place::Relative, "../uploads/".to_owned()),
        (Place::WithoutScheme, format!("//{}/v2/", registry.address())),
        (Place::Storage, format!("http://{}/v2/", registry.storage())),
    ] {
        registry.fault(Operation::UploadStart, Fault::Location(place));
        let shown = curl(&["-X", "POST", &start]).1;
        assert!(location(&shown).starts_with(&prefix), "{shown}");
    }
}

#[test]
fn tokens_end_when_they_are_used_up() {
    let registry = FaultRegistry::bearer(Lifetime::Requests(1));
    let url = |path: &str| format!("http://{}{path}", registry.address());
    let challenge = curl(&[&url("/v2/a/b/tags/list")]).1;
    assert!(challenge.contains("scope=\"repository:a/b:pull\""), "{challenge}");
    let token = |user: &[&str]| {
        let address = url("/token?service=x&scope=repository:a/b:pull,push");
        let shown = curl(&[user, &[&address]].concat()).1;
        let (_, body) = shown.split_once("\r\n\r\n").unwrap();
        let answer: serde_json::Value = serde_json::from_str(body).unwrap();
        format!("Authorization: Bearer {}", answer["token"].as_str().unwrap())
    };
    let credentials = format!("{USER}:{PASSWORD}");
    let (known, anonymous) = (token(&["-u", &credentials]), token(&[]));
    let start = ["-X", "POST", &url("/v2/a/b/blobs/uploads/"), "-H"];
    let ask = |header: &str| curl(&[&start[..], &[header]].concat()).1;
    assert!(ask(&known).contains(" 202 "));
    assert!(ask(&known).contains(" 401 "), "it was good for one request");
    assert!(ask(&anonymous).contains(" 401 "), "nobody may push");
    assert!(curl(&["-u", "user:wrong", &url("/token")]).1.contains("incorrect"));
}

#[test]
fn connections_are_cut_in_bad_weather() {
    let (registry, url) = with_blob();
    let proxy = TcpFault::start(registry.address().parse().unwrap());
    let url = url.replace(&registry.address(), &proxy.address());
    let ask = |limit: &str| curl(&["--max-time", limit, &url]).0;
    assert_eq!(ask("10"), 0, "the weather is fair");
    for (how, limit, code) in [(Cut::Reset, "10", 56), (Cut::Close, "10", 18), (Cut::Stall, "1", 28)] {
        proxy.set(Weather { cut: Some((Way::Down, 5000, how)), cuts: 2, ..Weather::default() });
        let codes = [ask(limit), ask(limit), ask("10")];
        assert_eq!((codes, proxy.cuts()), ([code, code, 0], 2), "{how:?}");
    }
    let slow = Weather { delay: Duration::from_millis(1), rate: Some(10 << 20), ..Weather::default() };
    proxy.set(Weather { cut: Some((Way::Up, 20, Cut::Close)), cuts: 9, every: 2, ..slow });
    let mut codes = [ask("10"), ask("10"), ask("10"), ask("10")];
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 52, 52], "each second connection ends before its request does");
}
