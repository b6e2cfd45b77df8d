//! XXH3-128 of files: finds what an accident changed. No protection against someone who wants two
//! files to look alike.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use twox_hash::xxhash3_128::Hasher;

use crate::error::{Error, Result};

const BLOCK: usize = 1 << 20;

/// Checksum of all bytes of a file as 32 hexadecimal digits.
pub fn file_checksum(path: &Path) -> Result<String> {
    let found = checksum(path).map_err(|why| Error::File {
        path: path.display().to_string(),
        why: why.to_string(),
    });
    Ok(format!("{:032x}", found?))
}

fn checksum(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish_128()),
            read => hasher.write(&block[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_value_of_no_bytes() {
        // XXH3-128 of the empty input with seed 0, from the reference implementation's test vectors.
        let path = std::env::temp_dir().join(format!("tokenfleet-empty-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        let found = file_checksum(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found, "99aa06d3014798d86001c324468d497f");
    }
}
