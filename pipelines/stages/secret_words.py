"""Words that tell secrets from their look-alikes, and what stands in for a secret. Data only."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KINDS = ("private_key", "key", "password", "email", "ip")
"""In order of weight: where two overlap, the earlier one names the whole."""

IPV4_REPLACEMENTS = ("10.23.41.7", "172.20.5.66", "172.29.113.18", "192.168.77.31", "192.168.204.9")
IPV6_REPLACEMENTS = (
    "fd1c:62a7:9e05::17",
    "fd3b:8f10:4ad2::5:9",
    "fd58:e4c3:b17f::a2",
    "fd7e:29b6:c8d4::3:1f",
    "fdc5:31e8:70fa::8c",
)
REPLACEMENTS = ("<KEY>", "<KEY>", "<PASSWORD>", "<EMAIL>", *IPV4_REPLACEMENTS, *IPV6_REPLACEMENTS)
"""Edit kind -> text: StarCoder's placeholders (arXiv 2305.06161, section 4.3); the first four in the order of KINDS,
then synthetic private addresses, five of each family."""
KIND_OF = (*KINDS[:4], *["ip"] * (len(IPV4_REPLACEMENTS) + len(IPV6_REPLACEMENTS)))
"""Edit kind -> the kind of secret that it hides."""
FIRST_IPV4, FIRST_IPV6 = 4, 4 + len(IPV4_REPLACEMENTS)

TOP_LEVEL_DOMAINS = _words(
    """
    academy agency ai app art asia at bank bio biz blog cafe cat center cern chat city cloud club co codes
    com community company consulting cool coop dev digital edu email engineering events expert finance
    foundation fun global gmbh google gov group guru health help hosting house info ink institute int
    international io jobs land lat law legal life link live lol ltd management mba me media microsoft mil
    mobi moe money museum name net network news ninja one online ooo org page paris party partners photo
    photos pizza plus post press pro productions pub pw rocks run school science sexy shop site social
    software solutions space store studio support systems team tech technology tel tips today tools top
    travel university us video vip website wiki work works world wtf xyz zone ac ad ae af ag al am ao aq
    ar as au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf cg ch ci ck cl cm
    cn cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi
    gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in iq ir is it je jm jo jp ke kg kh ki
    km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md mg mh mk ml mm mn mo mp mq mr ms mt mu
    mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt py qa re ro
    rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn
    to tr tt tv tw tz ua ug uk uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw
    """
)
"""Country codes, and the generic domains that addresses in code have: `a @ b.T` and `logo@2x.png` end otherwise."""

RESERVED_DOMAINS = frozenset(
    {"example", "test", "invalid", "localhost", "local", "localdomain", "internal", "lan", "home"}
)
"""Top-level domains that nobody owns (RFC 2606, RFC 6762 and usage)."""

PLACEHOLDER_DOMAINS = _words(
    """
    example.com example.org example.net example.edu domain.com domain.tld mydomain.com yourdomain.com
    your-domain.com yourcompany.com company.com mycompany.com acme.com foo.com bar.com foo.bar bar.baz
    baz.com foo.org bar.org test.com test.org host.com myhost.com server.com site.com mysite.com
    yoursite.com website.com somewhere.com somedomain.com email.com mail.com address.com
    users.noreply.github.com noreply.github.com xyz.com abc.com a.com b.com c.com x.com y.com
    example.co.uk
    """
)
PLACEHOLDER_USERS = frozenset(
    {"git", "noreply", "no-reply", "donotreply", "your.email", "your-email", "youremail", "your_email"}
)
"""`git@` is how a repository is fetched; nobody reads mail to the others."""

PUBLIC_RESOLVERS = _words(
    """
    1.0.0.1 1.0.0.2 1.0.0.3 1.1.1.1 1.1.1.2 1.1.1.3 1.2.3.4 2.2.2.2 3.3.3.3 4.2.2.1 4.2.2.2 4.4.4.4
    5.5.5.5 5.6.7.8 6.6.6.6 7.7.7.7 8.8.8.8 8.8.4.4 8.26.56.26 8.20.247.20 9.9.9.9 9.9.9.10 11.22.33.44
    12.34.56.78 64.6.64.6 64.6.65.6 76.76.2.0 76.76.10.0 76.76.19.19 76.223.122.150 77.88.8.8 77.88.8.1
    84.200.69.80 94.140.14.14 94.140.15.15 111.111.111.111 114.114.114.114 123.123.123.123 149.112.112.112
    156.154.70.1 185.228.168.9 208.67.220.220 208.67.222.222 209.244.0.3 223.5.5.5 223.6.6.6
    2001:4860:4860::8888 2001:4860:4860::8844 2606:4700:4700::1111 2606:4700:4700::1001 2620:fe::fe
    2620:119:35::35 2620:119:53::53 2a10:50c0::ad1:ff
    """
)
"""Name servers for everybody, and addresses that are typed as examples."""

PLACEHOLDERS = (
    "your", "example", "sample", "dummy", "changeme", "change_me", "change-me", "placeholder", "replace",
    "insert", "enter", "fake", "mock", "foobar", "todo", "redacted", "hidden", "secret", "password",
    "passwd", "token", "credential", "apikey", "api_key", "api-key", "accesskey", "access_key", "private",
    "public", "default", "unittest", "invalid", "notreal", "not-a-real", "xxx", "***", "...", "abc123",
    "abcdef", "123456", "12345", "1234abcd", "0000", "1111", "qwerty", "letmein", "hunter2", "admin",
    "root", "guest", "username", "hello", "foo", "bar123", "none", "null", "undefined", "test_", "test-",
    "_test", "-test", "lorem", "deadbeef", "some_", "my_", "my-", "<", "{{", "${", "%(", "#{", "localhost",
)  # fmt: skip
"""Parts of a value, in lower case, that say it is none: nobody's secret, or a stand-in."""

HARMLESS_NAMES = (
    "hash", "hashed", "digest", "checksum", "sha", "md5", "path", "file", "filename", "dir", "url", "uri",
    "endpoint", "name", "field", "label", "type", "regex", "regexp", "pattern", "format", "prefix",
    "suffix", "length", "size", "policy", "hint", "placeholder", "message", "msg", "error", "title", "text",
    "help", "description", "desc", "column", "header", "class", "selector", "param", "id", "attr", "event",
    "action", "state", "status", "view", "template", "icon", "input", "group", "arn", "version",
    "algorithm", "alg", "encoding", "mode", "source", "count", "index", "schema", "expression", "property",
    "map", "kind", "set", "list", "manager", "encoder", "hasher", "validator", "reset", "change",
    "required", "fingerprint", "pass_name",
)  # fmt: skip
"""Last words of a name that holds something about a secret rather than the secret."""

KEY_NAMES = (
    "api", "access", "secret", "auth", "authentication", "private", "priv", "encryption", "encrypt",
    "client", "account", "service", "signing", "sign", "db", "database", "shared", "master", "app",
    "application", "consumer", "storage", "session", "aes", "hmac", "crypto", "ssh", "license",
    "subscription", "server", "webhook", "write", "read", "admin", "deploy", "maps", "license", "site",
    "stripe", "aws", "azure", "google", "github", "sendgrid", "twilio", "mailgun", "openai", "datadog",
    "heroku",
)  # fmt: skip
"""What must stand before "key" for the name to be that of a secret: most keys are dictionary keys."""
