#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use zuwai_oci::*;
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let store = Store::create(&a[2]).unwrap();
    let reference: Reference = a[3].parse().unwrap();
    let digest: Digest = a[4].parse().unwrap();
    let size: u64 = a[5].parse().unwrap();
    let blob = Descriptor::new(MediaType::OciLayer, digest, size);
    let r = Registry::new(RegistryOptions::default()).unwrap();
    let t = std::time::Instant::now();
    match a[1].as_str() {
        "push" => r.push_blob(&reference, &blob, &store, None).await.unwrap(),
        _ => r.fetch_blob(&reference, &blob, &store).await.unwrap(),
    }
    println!("{} {:.2}s", a[1], t.elapsed().as_secs_f64());
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", s.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
