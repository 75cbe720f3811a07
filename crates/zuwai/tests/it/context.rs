//! `zuwai context ls`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::program::run;

fn context() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("src/cache")).unwrap();
    for name in ["Dockerfile", "src/a.c", "src/cache/x", "notes.md"] {
        fs::write(at(name), name).unwrap();
        fs::set_permissions(at(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    symlink("a.c", at("src/link")).unwrap();
    for name in ["src", "src/cache"] {
        fs::set_permissions(at(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    fs::write(at(".dockerignore"), "# none\n*.md\n**/cache\nDockerfile\n.dockerignore\n").unwrap();
    fs::write(at("Dockerfile.other"), "FROM scratch\n").unwrap();
    fs::write(at("Dockerfile.other.dockerignore"), "*\n!notes.md\n").unwrap();
    directory
}

fn ls(directory: &tempfile::TempDir, flags: &[&str]) -> String {
    let mut arguments = vec!["context", "ls"];
    arguments.extend_from_slice(flags);
    arguments.push(directory.path().to_str().unwrap());
    let finished = run("zuwai", &arguments, &[]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{flags:?}");
    finished.stdout.replace(directory.path().canonicalize().unwrap().to_str().unwrap(), "CONTEXT")
}

#[test]
fn what_a_build_would_get_is_listed() {
    let directory = context();
    fs::remove_file(directory.path().join("Dockerfile.other")).unwrap();
    fs::remove_file(directory.path().join("Dockerfile.other.dockerignore")).unwrap();
    assert_eq!(
        ls(&directory, &[]),
        "d 0755            0 src\nf 0644            7 src/a.c\nl 0777            0 src/link -> a.c\n\
         1 file, 7 bytes, 1 directory, 1 link\n"
    );
    assert_eq!(ls(&directory, &["--format", "summary"]), "1 file, 7 bytes, 1 directory, 1 link\n");
    let digest = ls(&directory, &["--format=summary", "--digest"]);
    assert!(digest.lines().nth(1).unwrap().starts_with("sha256:"), "{digest}");
    let json: serde_json::Value =
        serde_json::from_str(&ls(&directory, &["--format=json", "--digest"])).unwrap();
    assert_eq!((json["files"].as_u64(), json["bytes"].as_u64()), (Some(1), Some(7)));
    assert_eq!(json["entries"][2]["target"], "a.c");
    assert_eq!(json["digest"].as_str(), digest.lines().nth(1));
}

#[test]
fn what_excludes_a_path_is_told() {
    let directory = context();
    assert_eq!(
        ls(&directory, &["--excluded"]),
        ".dockerignore  CONTEXT/.dockerignore:5: .dockerignore\nDockerfile  CONTEXT/.dockerignore:4: Dockerfile\n\
         notes.md  CONTEXT/.dockerignore:2: *.md\nsrc/cache/  CONTEXT/.dockerignore:3: **/cache\n4 paths excluded\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&ls(&directory, &["--excluded", "--format=json"])).unwrap();
    assert_eq!(json["excluded"][3]["line"], 3);
}

#[test]
fn the_dockerfiles_own_ignore_file_counts_first() {
    let directory = context();
    let listed = ls(&directory, &["-f", directory.path().join("Dockerfile.other").to_str().unwrap()]);
    assert!(listed.starts_with("f 0644            8 notes.md\n1 file"), "{listed}");
}

#[test]
fn mistakes_are_told() {
    let directory = context();
    let path = directory.path().to_str().unwrap();
    fs::write(directory.path().join(".dockerignore"), "a\n[b\n").unwrap();
    for (arguments, message) in [
        (&["context", "ls", path][..], ".dockerignore:2: invalid pattern: syntax error in pattern \"[b\""),
        (&["context", "ls", "/nowhere/at/all"], "cannot use /nowhere/at/all as the build context"),
        (&["context", "ls", path, path], "takes at most one argument, the context"),
        (&["context", "rm"], "unknown command \"rm\" for \"zuwai context\""),
        (&["context", "ls", "--format=xml", path], "invalid argument \"xml\""),
    ] {
        let finished = run("zuwai", arguments, &[]);
        assert_eq!(finished.code, Some(1), "{arguments:?}");
        assert!(finished.stderr.contains(message), "{arguments:?}: {}", finished.stderr);
    }
    for arguments in [&["context", "--help"][..], &["context"], &["help", "context"]] {
        assert!(run("zuwai", arguments, &[]).stdout.contains("zuwai context [command]"), "{arguments:?}");
    }
}
