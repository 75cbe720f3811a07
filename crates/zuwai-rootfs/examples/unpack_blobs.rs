//! Unpacks layers and does nothing else, for `benches/unpack`: `unpack_blobs tree|layers DIRECTORY BLOB...`.
//!
//! `tree` unpacks one layer onto the other; `layers` each into a directory of its own (`DIRECTORY/0`, `DIRECTORY/1` and
//! so on), all at once. A blob may be a pipe. What a build does with the bytes besides is done here too: the digest of
//! each blob and that of its tar.
#![allow(clippy::print_stdout, reason = "an example's output is its purpose")]

use std::fs::File;
use std::io;
use std::path::Path;

use zuwai_layer::compression::decompress;
use zuwai_layer::digest::DigestReader;
use zuwai_layer::{LayerError, LayerReader};
use zuwai_rootfs::unpack::{LayerUnpacked, unpack, unpack_layer_dir};
use zuwai_rootfs::{KeepOut, Root, RootfsError};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Tar = DigestReader<Box<dyn io::Read + Send>>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(way), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unpack_blobs tree|layers DIRECTORY BLOB...".into());
    };
    let directory = Path::new(&directory);
    let blobs: Vec<File> = arguments.map(File::open).collect::<Result<_, _>>()?;
    match way.as_str() {
        "tree" => {
            let root = Root::open(directory, KeepOut::default())?;
            // All streams are read ahead from the start, as downloads are.
            let tars = blobs.into_iter().map(tar).collect::<io::Result<Vec<Tar>>>()?;
            tars.into_iter().try_for_each(|tar| onto_tree(&root, tar))
        }
        "layers" => std::thread::scope(|scope| {
            let work = blobs.into_iter().enumerate().map(|(number, blob)| {
                let directory = directory.join(number.to_string());
                scope.spawn(move || alone(&directory, tar(blob)?))
            });
            work.collect::<Vec<_>>().into_iter().try_for_each(|layer| layer.join().map_err(|_| "a panic")?)
        }),
        other => Err(format!("neither tree nor layers: {other}").into()),
    }
}

fn tar(blob: File) -> io::Result<Tar> {
    decompress(DigestReader::new(blob)).map(DigestReader::new)
}

fn onto_tree(root: &Root, mut tar: Tar) -> Result<(), Failure> {
    let entries = unpack(root, LayerReader::new(&mut tar))?.entries;
    told(entries, tar)
}

fn alone(directory: &Path, mut tar: Tar) -> Result<(), Failure> {
    std::fs::create_dir(directory)?;
    let root = Root::open(directory, KeepOut::default())?;
    match unpack_layer_dir(&root, LayerReader::new(&mut tar))? {
        LayerUnpacked::Alone(layer) => told(layer.entries, tar),
        LayerUnpacked::NeedsBelow => Err("the layer cannot be unpacked alone".into()),
    }
}

fn told(entries: u64, mut tar: Tar) -> Result<(), Failure> {
    io::copy(&mut tar, &mut io::sink()).map_err(|error| RootfsError::from(LayerError::Read(error)))?;
    let (_, digest, size) = tar.finish();
    println!("{entries} entries, {size} bytes, {digest}");
    Ok(())
}
