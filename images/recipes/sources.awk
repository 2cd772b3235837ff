# SPDX-License-Identifier: Apache-2.0
#
# Prints the entries of an apt sources file that belong to the Debian archive
# of one suite, as one-line entries. Variables: format ("line" or "deb822"),
# wanted (the suite), ring (the keyring every entry must verify against).

function suite_wanted(name)
{
	sub(/\/$/, "", name)
	return name == wanted || name == wanted "-updates" || \
	       name == wanted "-security" || name == wanted "/updates"
}

# Others sign with keys of their own; no key named means the default ones.
function key_is_debian(key)
{
	return key == "" || key ~ /debian-archive/
}

function emit(uri, suites, components,    s, c, n, m, i, j, kept)
{
	if (uri !~ /^(https?|file|copy|mirror(\+[a-z]+)?):/)
		return
	m = split(components, c, " ")
	kept = ""
	for (j = 1; j <= m; j++)
		if (c[j] == "main")
			kept = "main"
	if (kept == "")
		return
	n = split(suites, s, " ")
	for (i = 1; i <= n; i++)
		if (suite_wanted(s[i]))
			print "deb [signed-by=" ring "] " uri " " s[i] " " kept
}

function flush_stanza(    u, n, i)
{
	if ((" " field["types"] " ") ~ / deb / && \
	    tolower(field["enabled"]) !~ /^(no|false|off|0)$/ && \
	    key_is_debian(field["signed-by"])) {
		n = split(field["uris"], u, " ")
		for (i = 1; i <= n; i++)
			emit(u[i], field["suites"], field["components"])
	}
	delete field
	last = ""
}

format == "line" {
	sub(/#.*/, "")
	if ($1 != "deb")
		next
	$1 = ""
	key = ""
	rest = $0
	if (match(rest, /\[[^]]*\]/)) {
		options = substr(rest, RSTART + 1, RLENGTH - 2)
		rest = substr(rest, RSTART + RLENGTH)
		n = split(options, o, " ")
		for (i = 1; i <= n; i++)
			if (o[i] ~ /^signed-by=/)
				key = substr(o[i], 11)
	}
	n = split(rest, part, " ")
	components = ""
	for (i = 3; i <= n; i++)
		components = components " " part[i]
	if (key_is_debian(key))
		emit(part[1], part[2], components)
	next
}

/^#/ { next }
/^[ \t]*$/ { flush_stanza(); next }
/^[ \t]/ { field[last] = field[last] " " $0; next }
/^[A-Za-z-]+:/ {
	last = tolower(substr($0, 1, index($0, ":") - 1))
	value = substr($0, index($0, ":") + 1)
	gsub(/^[ \t]+|[ \t\r]+$/, "", value)
	field[last] = value
}

END {
	if (format == "deb822")
		flush_stanza()
}
