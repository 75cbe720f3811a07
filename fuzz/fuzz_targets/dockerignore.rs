#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zuwai_fuzz::dockerignore::check(data));
