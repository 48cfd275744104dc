//! Sizes and modes on the command line. (Durations are `humantime`'s: `500ms`, `2s`, `1m 30s`.)

/// Reads a size in bytes: a whole number, or one with a binary suffix, as in `64k`, `1M`, `2GiB`.
pub fn size(text: &str) -> Result<usize, String> {
    let unreadable = || "expected a size such as 4096, 64k, 1M or 1G".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, suffix) = text.split_at(end.unwrap_or(text.len()));
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(unreadable()),
    };
    let count: usize = digits.parse().map_err(|_| unreadable())?;
    match count.checked_mul(1 << shift) {
        Some(0) => Err("expected a size of at least 1 byte".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("expected a size of at most {} bytes", usize::MAX)),
    }
}

/// Reads how many a second: a number, or one with a decimal suffix, as in `500`, `10k`, `1.5M`, and `10k/s`.
pub fn rate(text: &str) -> Result<f64, String> {
    let bare = text.strip_suffix("/s").unwrap_or(text);
    let (digits, factor) = match bare.as_bytes().last() {
        Some(b'k' | b'K') => (&bare[..bare.len() - 1], 1e3),
        Some(b'm' | b'M') => (&bare[..bare.len() - 1], 1e6),
        _ => (bare, 1.0),
    };
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    match digits.parse::<f64>() {
        Ok(count) if plain && (1.0..=1e9).contains(&(count * factor)) => Ok(count * factor),
        _ => {
            Err("expected a rate between 1 and 1000M a second, such as 500, 10k or 1.5M".to_owned())
        }
    }
}

/// Reads a file mode in octal, as in `0600` or `660`.
pub fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected an octal mode between 0 and 0777, such as 0600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("10b", 10),
            ("64k", 65536),
            ("64K", 65536),
            ("64KiB", 65536),
            ("1M", 1 << 20),
            ("3g", 3 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "k",
            "-1",
            "+1",
            "1.5k",
            "1 k",
            "0x10",
            "64q",
            "0",
            "0k",
            "1k1",
            "18446744073709551616",
            "17179869184G",
            "١k",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_decimal() {
        assert_eq!(rate("500"), Ok(500.0));
        assert_eq!(rate("10k"), Ok(10_000.0));
        assert_eq!(rate("1.5M/s"), Ok(1_500_000.0));
        for text in ["", "k", "0", "-1", "1e3", "inf", "10q", "2000M"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal_permissions() {
        assert_eq!(mode("0600"), Ok(0o600));
        assert_eq!(mode("644"), Ok(0o644));
        for text in ["", "8", "rw", "1000", "-1"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
