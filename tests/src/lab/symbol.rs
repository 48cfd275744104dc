//! The function that an address of this program lies in, by the program's own symbol table.

use std::fs;

/// The fields of an ELF file that are needed: each is at an offset, and so many bytes long.
fn number(file: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(len)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    )
}

/// Where the program was loaded.
fn base() -> Option<u64> {
    let program = fs::read_link("/proc/self/exe").ok()?;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let program = program.to_str()?;
    let first = maps.lines().find(|line| line.ends_with(program));
    u64::from_str_radix(first?.split('-').next()?, 16).ok()
}

/// The function at this offset of the file, and how far in.
fn function(file: &[u8], address: u64) -> Option<(String, u64)> {
    let sections = number(file, 0x28, 8)? as usize;
    let (size, count) = (
        number(file, 0x3a, 2)? as usize,
        number(file, 0x3c, 2)? as usize,
    );
    let section = |at: usize| sections + at * size;
    let table = (0..count)
        .map(section)
        .find(|&at| number(file, at + 4, 4) == Some(2))?;
    let strings = section(number(file, table + 0x28, 4)? as usize);
    let (names, begin) = (
        number(file, strings + 0x18, 8)? as usize,
        number(file, table + 0x18, 8)? as usize,
    );
    let len = number(file, table + 0x20, 8)? as usize;
    for entry in (begin..begin + len).step_by(24) {
        let (value, length) = (number(file, entry + 8, 8)?, number(file, entry + 16, 8)?);
        if (value..value + length).contains(&address) {
            let name = file.get(names + number(file, entry, 4)? as usize..)?;
            let end = name.iter().position(|&byte| byte == 0)?;
            let name = String::from_utf8_lossy(&name[..end]).into_owned();
            return Some((plain(&name), address - value));
        }
    }
    None
}

/// The path in a mangled name: its parts, each after its length.
fn plain(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("_ZN") else {
        return name.to_owned();
    };
    let mut parts = vec![];
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(len) = rest[..digits].parse::<usize>() else {
            break;
        };
        let Some(part) = rest.get(digits..digits + len) else {
            break;
        };
        parts.push(part.to_owned());
        rest = &rest[digits + len..];
    }
    // The last part is a hash.
    parts.pop();
    parts.join("::")
}

/// The address relative to the program, and the function and the offset in it if they are known.
pub fn name(pc: u64) -> String {
    let known = || {
        let address = pc.checked_sub(base()?)?;
        let file = fs::read("/proc/self/exe").ok()?;
        Some((address, function(&file, address)))
    };
    match known() {
        Some((address, Some((name, ahead)))) => format!("{name}+{ahead:#x} ({address:#x})"),
        Some((address, None)) => format!("{address:#x}"),
        None => format!("{pc:#x}"),
    }
}
