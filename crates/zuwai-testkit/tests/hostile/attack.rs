//! What an attack is: an image made by hand, a Dockerfile that builds on it, and what has to come of it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::json;
use zuwai_testkit::base::Base;
use zuwai_testkit::cache::run_directory;
use zuwai_testkit::image::Image;
use zuwai_testkit::layout;
use zuwai_testkit::registry::Registry;

use crate::tar::Tar;
use crate::ways::Way;

/// An attack.
pub struct Attack {
    /// Of its image and its folder.
    pub name: &'static str,
    /// The image's layers, lowest first.
    pub layers: fn() -> Vec<Layer>,
    /// `HOSTILE` stands for the image, `BUSYBOX` for one that means no harm.
    pub dockerfile: &'static str,
    /// A shell script that makes the context, which has a file `f` already.
    pub setup: &'static str,
    /// What has to come of it.
    pub expect: Expect,
    /// Where something else has to.
    pub except: &'static [(Way, Expect)],
    /// The size of the file system that the state is on, as `mount` takes it, if it is to be small. Left out in containers, whose room
    /// is the machine's.
    pub room: Option<&'static str>,
}

/// What has to come of an attack. Whatever it is: nothing outside changes, and the build ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The image that BuildKit builds.
    Same,
    /// An image.
    Builds,
    /// An error that has these texts.
    Fails(&'static [&'static str]),
    /// An image, or an error.
    Ends,
}

/// A layer of an image.
pub enum Layer {
    /// Programs, users and the usual directories.
    Busybox,
    /// A tar archive, or what pretends to be one.
    Tar(Vec<u8>),
    /// What there is, then as many zeros: with a file's header before them, its content.
    Zeros(Vec<u8>, u64),
}

/// A file `f`, and nothing to make.
pub const PLAIN: Attack = Attack {
    name: "",
    layers: Vec::new,
    dockerfile: "FROM HOSTILE\nRUN true\n",
    setup: "",
    expect: Expect::Ends,
    except: &[],
    room: None,
};

/// Busybox with one layer over it.
pub fn over_busybox(fill: impl FnOnce(&mut Tar)) -> Vec<Layer> {
    vec![Layer::Busybox, layer(fill)]
}

/// A layer.
pub fn layer(fill: impl FnOnce(&mut Tar)) -> Layer {
    let mut tar = Tar::default();
    fill(&mut tar);
    Layer::Tar(tar.finish())
}

impl Attack {
    /// What has to come of it when it is built in this way.
    pub fn expected(&self, way: Way) -> Expect {
        self.except.iter().find(|(other, _)| *other == way).map_or(self.expect, |(_, expect)| *expect)
    }

    /// Pushes its image.
    pub fn push(&self, registry: &Registry, work: &Path) {
        let layout = work.join("layout");
        let layers: Vec<_> =
            (self.layers)().iter().enumerate().map(|(at, layer)| layer.write(work, at)).collect();
        let busybox = Image::layout(&Base::Busybox.layout()).config;
        let row =
            |at| json!({"created": "2023-11-14T22:13:20Z", "created_by": format!("ADD layer {at} # test")});
        let history: Vec<_> = (0..layers.len()).map(row).collect();
        let config = json!({
            "history": history, "architecture": busybox["architecture"], "os": "linux", "config": {"Env": busybox["config"]["Env"], "Cmd": ["sh"]},
        });
        layout::write(&layout, &layers, config);
        registry.push(&format!("oci:{}:latest", layout.display()), &format!("hostile/{}:latest", self.name));
        std::fs::remove_dir_all(layout).unwrap();
        for layer in layers.iter().filter(|layer| layer.starts_with(work)) {
            std::fs::remove_file(layer).unwrap();
        }
    }
}

impl Layer {
    fn write(&self, work: &Path, at: usize) -> PathBuf {
        let path = work.join(format!("{at}.tar"));
        match self {
            Self::Busybox => return busybox().to_owned(),
            Self::Tar(bytes) => std::fs::write(&path, bytes).unwrap(),
            Self::Zeros(bytes, zeros) => {
                let mut file = File::create(&path).unwrap();
                file.write_all(bytes).unwrap();
                file.set_len(bytes.len() as u64 + zeros).unwrap();
            }
        }
        path
    }
}

fn busybox() -> &'static Path {
    static BUSYBOX: OnceLock<PathBuf> = OnceLock::new();
    BUSYBOX.get_or_init(|| {
        let path = run_directory().join("busybox.tar");
        let layer = &Image::layout(&Base::Busybox.layout()).layers[0];
        std::io::copy(&mut layer.open(), &mut File::create(&path).unwrap()).unwrap();
        path
    })
}
