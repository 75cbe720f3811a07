//! `ADD` of a git repository, from git's own server on 127.0.0.1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

mod support;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use support::Network;
use support::git_server::{GIT_SERVER, GitServer, TOKEN, Work, git};
use support::ssh_server::SshServer;
use zuwai_context::remote::{Authorization, GitCheckout, GitOptions, RemoteError, RemoteSource, SshOptions};
use zuwai_oci::Secret;
use zuwai_testkit::need::{Need, needs};
use zuwai_testkit::server::Server;

/// A checkout and the directory that it is in.
struct Fetched {
    result: Result<GitCheckout, RemoteError>,
    directory: tempfile::TempDir,
}

impl Fetched {
    fn checkout(&self) -> &GitCheckout {
        self.result.as_ref().unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// What is in the source: paths with kind, mode and content, in order.
    fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(&self.checkout().path, Path::new(""), &mut lines);
        lines.sort();
        lines
    }

    fn error(&self) -> &RemoteError {
        self.result.as_ref().unwrap_err()
    }
}

fn list(root: &Path, below: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let path = below.join(entry.unwrap().file_name());
        let full = root.join(&path);
        let metadata = fs::symlink_metadata(&full).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let shown = path.display();
        if metadata.is_symlink() {
            lines.push(format!("{shown} -> {}", fs::read_link(&full).unwrap().display()));
        } else if metadata.is_dir() {
            lines.push(format!("{shown}/ {mode:o}"));
            list(root, &path, lines);
        } else {
            lines.push(format!("{shown} {mode:o} {:?}", fs::read_to_string(&full).unwrap()));
        }
    }
}

fn fetch_with(url: &str, options: &GitOptions) -> Fetched {
    let network = Network::default();
    let directory = tempfile::tempdir().unwrap();
    let Some(Ok(RemoteSource::Git(source))) = RemoteSource::parse(url) else { panic!("{url}") };
    Fetched { result: network.fetcher().fetch_git(&source, directory.path(), options), directory }
}

fn fetch(url: &str) -> Fetched {
    fetch_with(url, &GitOptions::default())
}

/// A repository with all kinds of files, two branches and two tags. Gives its commits, the last one first.
fn repository(server: &GitServer) -> (Work, [String; 3]) {
    let work = server.work("all.git");
    work.write("file", "one\n");
    work.write("dir/deep/file", "deep\n");
    work.write("run.sh", "#!/bin/sh\n");
    fs::set_permissions(work.directory.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../file", work.directory.join("dir/link")).unwrap();
    symlink("/etc", work.directory.join("away")).unwrap();
    let first = work.commit("first");
    work.git(&["tag", "light"]);
    work.write("file", "two\n");
    let second = work.commit("second");
    work.git(&["tag", "--annotate", "--message=release", "annotated"]);
    work.git(&["checkout", "--quiet", "-b", "feature"]);
    work.write("feature", "yes\n");
    let third = work.commit("third");
    work.git(&["checkout", "--quiet", "main"]);
    work.publish();
    (work, [third, second, first])
}

#[test]
fn a_checkout_has_the_files_of_its_commit() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let (_, [_, second, _]) = repository(&server);
    let fetched = fetch(&server.url("all.git"));
    assert_eq!(fetched.checkout().commit, second);
    assert_eq!(fetched.checkout().path, fetched.directory.path());
    let expected = [
        "away -> /etc",
        "dir/ 755",
        "dir/deep/ 755",
        "dir/deep/file 644 \"deep\\n\"",
        "dir/link -> ../file",
        "file 644 \"two\\n\"",
        "run.sh 755 \"#!/bin/sh\\n\"",
    ];
    assert_eq!(fetched.listing(), expected);
}

#[test]
fn references_are_found_as_buildkit_finds_them() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let (work, [third, second, first]) = repository(&server);
    work.git(&["branch", "both", "feature"]);
    work.git(&["tag", "both", "light"]);
    work.git(&["update-ref", "refs/pull/1/head", &first]);
    work.publish();
    let url = server.url("all.git");
    git(&server.repositories().join("all.git"), &["update-ref", "refs/pull/1/head", &first]);
    for (reference, commit) in [
        ("main", &second),
        ("feature", &third),
        ("refs/heads/feature", &third),
        ("heads/feature", &third),
        ("light", &first),
        ("refs/tags/light", &first),
        ("annotated", &second),
        ("tags/annotated", &second),
        ("both", &third),
        ("refs/tags/both", &first),
        ("pull/1/head", &first),
        (first.as_str(), &first),
    ] {
        let fetched = fetch(&format!("{url}#{reference}"));
        assert_eq!(&fetched.checkout().commit, commit, "{reference}");
    }
    for reference in ["missing", "HEAD", &first[..7], &first.to_uppercase(), "refs/heads/light"] {
        let fetched = fetch(&format!("{url}#{reference}"));
        let message = format!("repository {url} does not contain ref {reference}");
        assert_eq!(fetched.error().to_string(), message);
    }
    let missing = "0123456789012345678901234567890123456789";
    let error = fetch(&format!("{url}#{missing}")).error().to_string();
    assert_eq!(error, format!("cannot fetch repository {url}: cannot fetch {missing}"));
}

#[test]
fn a_commit_can_be_demanded() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let (work, [_, second, _]) = repository(&server);
    let url = server.url("all.git");
    let tag = work.git(&["rev-parse", "annotated"]).trim().to_owned();
    let demand = |reference: &str, checksum: &str| {
        let options = GitOptions { checksum: Some(checksum.to_owned()), ..GitOptions::default() };
        fetch_with(&format!("{url}{reference}"), &options)
    };
    for (reference, checksum) in
        [("", second.as_str()), ("", &second[..7]), ("#annotated", &tag), ("#annotated", &second[..4])]
    {
        assert_eq!(demand(reference, checksum).checkout().commit, second);
    }
    for (checksum, message) in [
        ("0123abc", format!("repository {url}: expected checksum to match 0123abc, got {second}")),
        ("xyz", "invalid checksum xyz for Git URL, expected hex commit hash".to_owned()),
        ("sha256:00", "invalid checksum sha256:00 for Git URL, expected hex commit hash".to_owned()),
    ] {
        assert_eq!(demand("", checksum).error().to_string(), message);
    }
    let of_query = fetch(&format!("{url}?checksum=0123abc"));
    assert!(matches!(of_query.error(), RemoteError::Commit { .. }), "{:?}", of_query.error());
}

#[test]
fn a_subdirectory_is_never_a_link() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    repository(&server);
    let url = server.url("all.git");
    for subdirectory in ["dir", "/dir/", "dir/deep/..", "../dir"] {
        let fetched = fetch(&format!("{url}#main:{subdirectory}"));
        let expected = ["deep/ 755", "deep/file 644 \"deep\\n\"", "link -> ../file"];
        assert_eq!(fetched.listing(), expected, "{subdirectory}");
    }
    for (subdirectory, problem) in [
        ("missing", "there is no missing"),
        ("file", "file is not a directory"),
        ("away", "away is not a directory"),
        ("away/ssl", "away is not a directory"),
    ] {
        let fetched = fetch(&format!("{url}#main:{subdirectory}"));
        let message = format!("repository {url}: invalid subdir {subdirectory}: {problem}");
        assert_eq!(fetched.error().to_string(), message);
    }
}

#[test]
fn attributes_count_and_filter_programs_do_not() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let work = server.work("attributes.git");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
    work.write(
        ".gitattributes",
        "*.txt text eol=crlf\n*.bin filter=lfs -text\nident ident\nexported export-ignore\n",
    );
    work.write("lines.txt", "a\nb\n");
    work.write("large.bin", pointer);
    work.write("ident", "$Id$\n");
    work.write("exported", "yes\n");
    work.commit("all");
    work.publish();
    let fetched = fetch(&server.url("attributes.git"));
    let read = |name: &str| fs::read_to_string(fetched.checkout().path.join(name)).unwrap();
    assert_eq!(read("lines.txt"), "a\r\nb\r\n");
    assert_eq!(read("large.bin"), pointer);
    assert_eq!(read("ident"), "$Id: 055c8729cdcc372500a08db659c045e16c4409fb $\n");
    assert_eq!(read("exported"), "yes\n");
}

/// A repository with a submodule that has one itself, both at relative addresses, and not at the ends of their branches.
fn with_submodules(server: &GitServer) -> String {
    let inner = server.work("inner.git");
    inner.write("inner", "old\n");
    inner.commit("old");
    inner.publish();
    let middle = server.work("middle.git");
    middle.write("middle", "yes\n");
    let add = |work: &Work, name: &str, path: &str| {
        let local = server.repositories().join(name).display().to_string();
        work.git(&["submodule", "--quiet", "add", &local, path]);
        work.git(&["config", "--file=.gitmodules", &format!("submodule.{path}.url"), &format!("../{name}")]);
    };
    add(&middle, "inner.git", "sub/inner");
    middle.commit("all");
    middle.publish();
    inner.write("inner", "new\n");
    inner.commit("new");
    inner.publish();
    let outer = server.work("outer.git");
    outer.write("outer", "yes\n");
    add(&outer, "middle.git", "modules/middle");
    let commit = outer.commit("all");
    outer.publish();
    commit
}

#[test]
fn submodules_are_checked_out_recursively() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    with_submodules(&server);
    let files = |fetched: &Fetched| {
        let all = fetched.listing().into_iter();
        all.filter(|line| !line.starts_with(".git") && !line.contains(".gitmodules")).collect::<Vec<_>>()
    };
    let expected = [
        "modules/ 755",
        "modules/middle/ 755",
        "modules/middle/middle 644 \"yes\\n\"",
        "modules/middle/sub/ 755",
        "modules/middle/sub/inner/ 755",
        "modules/middle/sub/inner/inner 644 \"old\\n\"",
        "outer 644 \"yes\\n\"",
    ];
    assert_eq!(files(&fetch(&server.url("outer.git"))), expected);
    let without = GitOptions { submodules: false, ..GitOptions::default() };
    let expected = ["modules/ 755", "modules/middle/ 755", "outer 644 \"yes\\n\""];
    assert_eq!(files(&fetch_with(&server.url("outer.git"), &without)), expected);
    let below = fetch(&format!("{}#main:modules/middle/sub", server.url("outer.git")));
    assert_eq!(files(&below), ["inner/ 755", "inner/inner 644 \"old\\n\""]);
}

#[test]
fn a_kept_git_directory_is_one_for_git() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let (work, [third, second, first]) = repository(&server);
    let tag = work.git(&["rev-parse", "annotated"]).trim().to_owned();
    let keep = GitOptions { keep_git_dir: true, ..GitOptions::default() };
    let url = server.url("all.git");
    for (reference, commit, references) in [
        ("", &second, format!("refs/heads/main {second}\nrefs/tags/main {second}\n")),
        ("#feature", &third, format!("refs/heads/feature {third}\nrefs/tags/feature {third}\n")),
        ("#light", &first, format!("refs/heads/light {first}\nrefs/tags/light {first}\n")),
        ("#annotated", &second, format!("refs/tags/annotated {tag}\n")),
        (&format!("#{first}"), &first, String::new()),
    ] {
        let fetched = fetch_with(&format!("{url}{reference}"), &keep);
        let directory = &fetched.checkout().path;
        assert_eq!(git(directory, &["status", "--short"]), "", "{reference}");
        assert_eq!(git(directory, &["log", "--format=%H"]).trim(), commit, "{reference}");
        let head = fs::read_to_string(directory.join(".git/HEAD")).unwrap();
        assert_eq!(head.trim(), commit);
        assert_eq!(git(directory, &["for-each-ref", "--format=%(refname) %(objectname)"]), references);
        assert_eq!(git(directory, &["remote", "get-url", "origin"]).trim(), url);
        git(directory, &["fsck", "--strict"]);
        git(directory, &["fetch", "--quiet", "--unshallow", "origin"]);
    }
    let below = fetch_with(&format!("{url}#main:dir"), &keep);
    assert!(!below.directory.path().join(".git").exists(), "a subdirectory has no .git");
}

#[test]
fn a_kept_git_directory_has_its_submodules() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let commit = with_submodules(&server);
    let keep = GitOptions { keep_git_dir: true, ..GitOptions::default() };
    let fetched = fetch_with(&server.url("outer.git"), &keep);
    let directory = &fetched.checkout().path;
    assert_eq!(fetched.checkout().commit, commit);
    assert_eq!(git(directory, &["status", "--short"]), "");
    let status = git(directory, &["submodule", "status", "--recursive"]);
    assert!(status.lines().count() == 2 && status.lines().all(|line| line.starts_with(' ')), "{status}");
    let link = fs::read_to_string(directory.join("modules/middle/.git")).unwrap();
    assert_eq!(link, "gitdir: ../../.git/modules/modules/middle\n");
    git(&directory.join("modules/middle/sub/inner"), &["fsck", "--strict"]);
}

#[test]
fn a_private_repository_wants_a_token() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let (_, [_, second, _]) = repository(&server);
    let url = server.private_url("all.git");
    let with = |token: &str| GitOptions {
        authorization: Authorization::git_token(&Secret::new(token)),
        ..GitOptions::default()
    };
    assert_eq!(fetch_with(&url, &with(TOKEN)).checkout().commit, second);
    let in_address = url.replace("//", &format!("//x-access-token:{TOKEN}@"));
    let keep = GitOptions { keep_git_dir: true, ..GitOptions::default() };
    let fetched = fetch_with(&in_address, &keep);
    let config = fs::read_to_string(fetched.checkout().path.join(".git/config")).unwrap();
    assert!(config.contains(&format!("url = {url}\n")), "{config}");
    let name = format!("GIT_AUTH_TOKEN.127.0.0.1:{}", server.port);
    for (options, advice) in
        [(GitOptions::default(), name.as_str()), (with("wrong-token"), "did not accept the credentials")]
    {
        let fetched = fetch_with(&url, &options);
        let error = fetched.error();
        assert_eq!(error.to_string(), format!("cannot fetch repository {url}: invalid response status 401"));
        let hint = error.hint().unwrap();
        assert!(hint.contains(advice), "{hint}");
        assert!(!format!("{error:?}").contains("wrong-token"));
    }
}

#[test]
fn what_is_no_repository_is_told() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let url = server.url("missing.git");
    let error = fetch(&url).error().to_string();
    assert_eq!(error, format!("cannot fetch repository {url}: invalid response status 404"));
    let empty = server.work("empty.git");
    empty.publish();
    let url = server.url("empty.git");
    let error = fetch(&url).error().to_string();
    assert_eq!(error, format!("repository {url} has no commit on its default branch"));
    let web = support::WebServer::start(|_| ("200 OK\r\nContent-Length: 3".to_owned(), b"hi\n".to_vec()));
    let url = web.url("/page.git");
    let error = fetch(&url).error().to_string();
    assert_eq!(error, format!("cannot fetch repository {url}: it does not answer as a git server does"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["http", "git"] {
        let url = format!("{scheme}://127.0.0.1:{free}/a.git");
        let error = fetch(&url).error().to_string();
        assert!(error.contains(&url) && error.ends_with(": cannot connect"), "{error}");
    }
}

#[test]
fn a_git_daemon_is_spoken_to() {
    if !needs(&[Need::Program("git")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    git(folder.path(), &["init", "--quiet", "--initial-branch=main", "repository"]);
    let repository = folder.path().join("repository");
    fs::write(repository.join("file"), "yes\n").unwrap();
    git(&repository, &["add", "file"]);
    git(&repository, &["commit", "--quiet", "--message=all"]);
    let arguments = [
        "daemon".to_owned(),
        "--listen=127.0.0.1".to_owned(),
        "--export-all".to_owned(),
        format!("--port={port}"),
        format!("--base-path={}", folder.path().display()),
    ];
    let mut server = Server::start("git", &arguments, folder.path(), |command| {
        command.envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory")]);
        command.env("GIT_CONFIG_VALUE_0", "*");
    });
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    server.wait_until(Duration::from_secs(30), |_| {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
    });
    let url = format!("git://localhost:{port}/repository");
    assert_eq!(fetch(&url).listing(), ["file 644 \"yes\\n\""]);
    let error = fetch(&format!("{url}#missing")).error().to_string();
    assert_eq!(error, format!("repository {url} does not contain ref missing"));
}

#[test]
fn ssh_is_used_with_an_agent() {
    let programs = ["git", "ssh", "sshd", "ssh-agent", "ssh-add", "ssh-keygen"].map(Need::Program);
    if !needs(&programs) || !needs(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = SshServer::start(folder.path());
    git(folder.path(), &["init", "--quiet", "--initial-branch=main", "it's"]);
    let repository = folder.path().join("it's");
    fs::write(repository.join("file"), "yes\n").unwrap();
    git(&repository, &["add", "file"]);
    git(&repository, &["commit", "--quiet", "--message=all"]);
    let url = format!("ssh://root@127.0.0.1:{}{}/it's", server.port, folder.path().display());
    let with = |agent: bool, known_hosts: Option<&str>| {
        let ssh = SshOptions {
            agent: agent.then(|| server.agent.clone()),
            known_hosts: known_hosts.map(|name| folder.path().join(name)),
        };
        fetch_with(&url, &GitOptions { ssh, ..GitOptions::default() })
    };
    assert_eq!(with(true, None).listing(), ["file 644 \"yes\\n\""]);
    assert_eq!(with(true, Some("known_hosts")).listing(), ["file 644 \"yes\\n\""]);
    for (fetched, complaint) in [
        (with(false, None), "Permission denied"),
        (with(true, Some("nobody")), "Host key verification failed"),
    ] {
        let error = fetched.error().to_string();
        let start = format!("cannot fetch repository {}: ssh: ", url.replace("root@", ""));
        assert!(error.starts_with(&start) && error.contains(complaint), "{error}");
    }
}

#[test]
fn hostile_repositories_are_refused() {
    if !needs(GIT_SERVER) {
        return;
    }
    let server = GitServer::start();
    let outside = tempfile::tempdir().unwrap();
    let work = server.work("hostile.git");
    work.write("blob", "evil\n");
    let blob = work.git(&["hash-object", "-w", "blob"]).trim().to_owned();
    work.write("link", &outside.path().display().to_string());
    let link = work.git(&["hash-object", "-w", "link"]).trim().to_owned();
    let tree = |entries: &str| {
        work.write("entries", entries);
        let made = work.shell("git mktree --missing < entries");
        made.trim().to_owned()
    };
    let publish = |tree: &str| {
        let commit = work.git(&["commit-tree", "-m", "hostile", tree]).trim().to_owned();
        work.git(&["update-ref", "refs/heads/main", &commit]);
        work.publish();
    };
    let files = tree(&format!("100644 blob {blob}\tfile\n"));
    let twice = tree(&format!("120000 blob {link}\tname\n040000 tree {files}\tname\n"));
    let many = |kind: &str, id: &str| {
        let entries: Vec<_> = (0..1000).map(|index| format!("{kind} {id}\t{index:03}\n")).collect();
        tree(&entries.concat())
    };
    let bomb = (0..3).fold(many("100644 blob", &blob), |below, _| many("040000 tree", &below));
    for (tree, problem) in [(&twice, ""), (&bomb, "more than 10000000 files")] {
        publish(tree);
        let fetched = fetch(&server.url("hostile.git"));
        let Err(error) = &fetched.result else { panic!("{tree} was checked out") };
        let source = std::error::Error::source(error).unwrap().to_string();
        assert!(source.contains(problem), "{error}: {source}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is written outside");
    }
}
