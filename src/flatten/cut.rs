//! Objects that a tool wrote as texts, because they lay deeper than it writes.

/// How the texts begin that PowerShell's `ConvertTo-Json` writes for objects and lists beyond its depth.
const BEGINNINGS: [&[u8]; 4] =
    [b"@{", b"System.Object[]", b"System.Collections.Hashtable", b"System.Management.Automation.PSCustomObject"];

/// Whether `text` stands for an object or a list.
pub fn is_cut(text: &[u8]) -> bool {
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}
