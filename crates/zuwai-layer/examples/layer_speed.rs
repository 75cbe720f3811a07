//! How fast layers are built and read: `layer_speed FILE.tar [THREADS]`.
//!
//! Every entry of the tar is written into a new layer with each compression, and the blob is read back entry by
//! entry. Blobs go to a temporary file. Speeds are of uncompressed bytes, by the clock and by CPU time of all threads
//! (which means something on a busy machine too).
#![allow(clippy::print_stdout, reason = "an example's output is its purpose")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::time::Instant;

use zuwai_layer::build::TarSink;
use zuwai_layer::compression::decompress;
use zuwai_layer::{Compression, LayerItem, LayerReader, LayerWriter, Level};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let tar = arguments.next().ok_or("usage: layer_speed FILE.tar [THREADS]")?;
    let threads = arguments.next().map_or(Ok(2), |threads| threads.parse())?;
    // Once before anything is timed, so that the file is in memory.
    let length = io::copy(&mut File::open(&tar)?, &mut io::sink())?;

    for (compression, level) in [
        (Compression::None, -1),
        (Compression::Gzip, 1),
        (Compression::Gzip, 2),
        (Compression::Gzip, 3),
        (Compression::Gzip, 6),
        (Compression::Zstd, 1),
        (Compression::Zstd, 3),
    ] {
        let begin = Moment::now()?;
        let sink = TarSink::new(tempfile::tempfile()?, compression, Level::new(level), threads);
        let writer = copy(LayerReader::archive(File::open(&tar)?), LayerWriter::archive(sink))?;
        let (mut blob, summary) = writer.finish()?.finish()?;
        let build = begin.speed(length)?;

        blob.rewind()?;
        let begin = Moment::now()?;
        let mut reader = LayerReader::archive(decompress(blob)?);
        let mut entries = 0;
        while reader.next()?.is_some() {
            entries += 1;
            reader.copy_content(&mut io::sink())??;
        }
        let read = begin.speed(length)?;
        let size = summary.size as f64 / 1e6;
        println!("{compression:?} {level:2}: build {build}, {size:6.1} MB; read {read}, {entries} entries");
    }
    println!("peak memory: {}", peak_memory()?);
    Ok(())
}

fn copy<R: Read, W: io::Write>(
    mut reader: LayerReader<R>,
    mut writer: LayerWriter<W>,
) -> Result<LayerWriter<W>, Box<dyn Error>> {
    while let Some(item) = reader.next()? {
        if let LayerItem::Entry(entry) = item {
            writer.entry(&entry, &mut reader)?;
        }
    }
    Ok(writer)
}

struct Moment {
    clock: Instant,
    ticks: u64,
}

impl Moment {
    fn now() -> Result<Self, Box<dyn Error>> {
        let stat = io::read_to_string(File::open("/proc/self/stat")?)?;
        let fields = stat.rsplit(')').next().ok_or("no fields in /proc/self/stat")?.split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
        Ok(Self { clock: Instant::now(), ticks })
    }

    /// Megabytes a second since then; there are 100 ticks in a second.
    fn speed(&self, bytes: u64) -> Result<String, Box<dyn Error>> {
        let megabytes = bytes as f64 / 1e6;
        let busy = (Self::now()?.ticks - self.ticks) as f64 / 100.0;
        let clock = self.clock.elapsed().as_secs_f64();
        Ok(format!("{:5.0} MB/s ({:5.0} a CPU-second)", megabytes / clock, megabytes / busy))
    }
}

fn peak_memory() -> io::Result<String> {
    let status = io::read_to_string(File::open("/proc/self/status")?)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or("unknown").trim().to_owned())
}
