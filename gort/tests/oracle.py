# The same search, independent of ours: python3 oracle.py DIR WORD... (paths in hex, as they are bytes).
import collections, json, os, re, sys
root, wanted = os.fsencode(sys.argv[1]), {word.lower().encode() for word in sys.argv[2:]}
read, size, words, terms, hits = 0, 0, 0, set(), []
for folder, folders, names in os.walk(root):
    folders[:] = [name for name in folders if name != b".git"]
    for path in (os.path.join(folder, name) for name in names):
        data = open(path, "rb").read() if os.path.isfile(path) and not os.path.islink(path) else b"\0"
        if b"\0" not in data[:8192]:
            table = collections.Counter(re.findall(rb"[a-z0-9_]+", data.lower()))
            read, size, words = read + 1, size + len(data), words + sum(table.values())
            terms.update(table)
            hits += [(-sum(table[word] for word in wanted), os.path.relpath(path, root))] * (wanted <= table.keys())
hits = [[-count, path.hex()] for count, path in sorted(hits)]
print(json.dumps({"files": read, "bytes": size, "words": words, "terms": len(terms), "hits": hits}))
