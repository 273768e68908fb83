"""The keys of backstay.yml, their types, defaults and descriptions.

Only this module and `fields.py` import pydantic. Defaults stand here as people write them. A default of None is
filled in by `defaults.py`: from the policy, the names of application and environment, or the state folder.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backstay.config.fields import (
    Address,
    BackupChoice,
    BackupEngine,
    CheckChoice,
    Count,
    CountOrNone,
    Cron,
    Duration,
    Engine,
    Every,
    FilledText,
    Flag,
    HeaderName,
    HeaderValue,
    Hosts,
    Image,
    JsonPath,
    LeaseTime,
    LevelName,
    Memory,
    Method,
    Name,
    Network,
    NotifyUrl,
    Origin,
    Port,
    PortRange,
    Recipient,
    RequestPath,
    Scratch,
    Share,
    SmokeChoice,
    SomeTime,
    Status,
    Text,
    TrialChoice,
    Url,
    UrlPath,
    Variable,
    Volume,
    Window,
    Word,
)


def key(description: str, default: Any = ..., **more: Any) -> Any:
    """A key with its description; without a default it must be given."""
    return Field(default, description=description, **more)


def group(description: str, factory: Any) -> Any:
    """A key that holds a list or mapping and is empty, or all defaults, when it is not given."""
    return Field(default_factory=factory, description=description)


class Section(BaseModel):
    """A mapping of the file: unknown keys are faults, defaults are checked like anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class Health(Section):
    """How a component shows that it is ready."""

    path: RequestPath = key("Path that answers 200 to 399 when the component is ready.", "/")
    headers: dict[HeaderName, HeaderValue] = group("Headers to send, such as Host.", dict)
    deadline: SomeTime = key("How long a new container may take until it is ready.", "120s")
    interval: SomeTime = key("Time between two checks.", "500ms")


class Component(Section):
    """One part of the application: an image and how to run it."""

    image: Image | None = key(
        "Image without tag or digest; a release supplies the version. Docker needs it.", None
    )
    port: Port = key(
        "Port the component listens on inside its container; a plain process is told another one as $PORT."
    )
    health: Health = group("How the component shows that it is ready.", Health)
    command: list[Word] = group(
        "Command in place of the image's own, one word per item. The process engine needs it, and fills in"
        " {version} and {port}.",
        list,
    )
    workdir: FilledText | None = key(
        "Folder of a release, with {version} in it; relative to backstay.yml. The process engine needs it.",
        None,
    )
    env: dict[Variable, Text] = group("Environment variables, not secret.", dict)
    secrets: list[Variable] = group("Names of secrets to put into the container's environment.", list)
    migrate: list[Word] = group("Command that migrates the database, one word per item.", list)
    volumes: list[Volume] = group("Volumes, NAME:/PATH or /HOST/PATH:/PATH, with :ro if read only.", list)
    memory: Memory | None = key("Memory limit, such as 512m or 1g.", None)
    stop_grace: Duration = key("Time to finish after being asked to stop.", "10s")


class Route(Section):
    """Requests whose path begins with `path` go to `component`; the longest path wins."""

    path: UrlPath = key("Path, matched in whole segments: /api takes /api and /api/x, not /apix.")
    component: FilledText = key("Name of the component that answers.")


class Copy(Section):
    """A copy of each backup elsewhere, made by a command of its own, such as rclone or restic."""

    command: list[Word] = key(
        "The command, one word per item; {path} is a folder with all files of the backup, {name} its name.",
        min_length=1,
    )
    secrets: list[Variable] = group("Names of secrets to put into its environment.", list)
    deadline: SomeTime = key("How long one attempt may take.", "2h")


class Database(Section):
    """The application's PostgreSQL database."""

    url_secret: Variable = key("Name of the secret with the database URL, as the application uses it.")
    backup_url_secret: Variable | None = key(
        "Name of the secret with the URL by which this host reaches the same database, with a role that may"
        " dump; the same as url_secret when not given.",
        None,
    )
    continuous: Flag = key(
        "Receive the database's write-ahead log all the time (a server of one's own); an environment may say"
        " otherwise.",
        False,
    )
    replication_url_secret: Variable | None = key(
        "Name of the secret with the URL of a role that may replicate; the same as backup_url_secret when not given.",
        None,
    )
    base_after: Memory = key(
        "How much write-ahead log may come after a base backup before the next one.", "10g"
    )
    canary: Flag = key(
        "With continuous: write a row each minute into backstay.canary, for drills to look for.", True
    )
    backup: BackupEngine = key(
        "How to back up: logical (one database, by pg_dump), physical (the whole server's files, by pg_basebackup),"
        " or auto: physical where the role may and most of the server is this database.",
        "auto",
    )
    encrypt_to: list[Recipient] = group("Age recipients that backups are encrypted to.", list)
    identity_secret: Variable | None = key(
        "Name of the secret with the age identity that decrypts them; without it none can be verified here.",
        None,
    )
    copy_: Copy | None = Field(None, alias="copy", description="A copy of each backup on another machine.")
    admin_url_secret: Variable | None = key(
        "Name of the secret with a URL of the same database whose role may make databases beside it and rename it;"
        " the same as backup_url_secret when not given.",
        None,
    )
    scratch: Scratch = key(
        "Where backups are restored to try things out: auto (this host's PostgreSQL of the same major version),"
        " container:IMAGE, or url:SECRET, the name of a secret with the URL of a server.",
        "auto",
    )


class Expect(Section):
    """What an answer must show. Without `status`, anything from 200 to 399 is right."""

    status: Status | None = key("The exact status.", None)
    json_: dict[JsonPath, Any] = Field(
        default_factory=dict, alias="json", description="JSONPath to the value that must be found there."
    )
    header: dict[HeaderName, HeaderValue] = group("Header to a text that its value must contain.", dict)
    body: FilledText | None = key("Text that the body must contain.", None)
    under: SomeTime | None = key("The whole answer must arrive in this time.", None)


class Smoke(Section):
    """One request that must be answered right before and after traffic moves."""

    name: FilledText = key("Name, unique in the file.")
    path: RequestPath = key("Path to ask for, through the routes.")
    method: Method = key("Request method.", "GET")
    headers: dict[HeaderName, HeaderValue] = group("Headers to send.", dict)
    expect: Expect = group("What the answer must show.", Expect)
    deadline: SomeTime = key("How long the answer may take at most.", "10s")


class Registry(Section):
    """Login to the image registry."""

    username_secret: Variable = key("Name of the secret with the user name.")
    password_secret: Variable = key("Name of the secret with the password or token.")


class Router(Section):
    """The router of one environment."""

    bind: Address = key("Where it listens: HOST:PORT, or :PORT for every address.", "127.0.0.1:8080")


class Cors(Section):
    """Which pages of other sites may call the application from a browser."""

    origins: list[Origin] = key(
        "Origins that must be allowed, such as https://www.example; any other must not be. * is everybody.",
        min_length=1,
    )


class Secrets(Section):
    """Where secret values come from."""

    file: FilledText = key("File of KEY=VALUE lines, mode 0600; relative to backstay.yml.")


class Triggers(Section):
    """What reverses a release while it bakes."""

    failed_probes: Count | None = key("Failed health probes in a row, per component.", None)
    probe_interval: SomeTime | None = key("Time between two probes.", None)
    probe_deadline: SomeTime | None = key("How long a probe's answer may take.", None)
    failed_smokes: Count | None = key("Failed public smoke tests in a row.", None)
    restarts: CountOrNone | None = key("Restarts of one component that are still accepted.", None)
    restart_window: SomeTime | None = key("Time in which restarts are counted.", None)
    error_points: Share | None = key("How far the share of 5xx answers may exceed the old slot's.", None)
    slow_points: Share | None = key("How far the share of slow answers may exceed the old slot's.", None)
    slow_answer: SomeTime | None = key("An answer that takes longer is slow.", None)
    sample_window: Window | None = key("How far back the new slot's answers are counted.", None)
    baseline_window: Window | None = key("How far back the old slot's answers are counted.", None)
    least_requests: Count | None = key("Fewer answers than this decide nothing.", None)


class Policy(Section):
    """How careful an environment is. What is not given comes from the built-in policy `name`."""

    name: LevelName | None = key(
        "Built-in policy to begin with; by default dev basic, uat standard, else strict.", None
    )
    checks: CheckChoice | None = key(
        "Which checks run before a deployment; strict lets a warning fail unless accept names it.", None
    )
    smoke: SmokeChoice | None = key(
        "Which built-in smoke tests run, essential or full; your own always run.", None
    )
    bake: Duration | None = key("How long a new release is watched after the switch.", None)
    backup: BackupChoice | None = key(
        "When to back up first: before every deployment, or only with a migration.", None
    )
    verify: TrialChoice | None = key(
        "When a deployment restores its backup before it goes on: off, with a migration, or always.", None
    )
    rehearsal: TrialChoice | None = key(
        "When a deployment is tried on a restored copy first: off, with a migration, or always.", None
    )
    long_lock: SomeTime | None = key("A table locked for longer in the rehearsal is told.", None)
    longest_lock: SomeTime | None = key(
        "A table locked for longer in the rehearsal makes the migration a breaking one.", None
    )
    smoke_every: Every | None = key(
        "Time between smoke tests during the bake, or off for one after the switch.", None
    )
    migrate_deadline: SomeTime | None = key("How long a migration may take.", None)
    lock_timeout: SomeTime | None = key("How long a migration may wait for a database lock.", None)
    drain_deadline: Duration | None = key("How long requests in flight may finish on the old slot.", None)
    hold_deadline: SomeTime | None = key(
        "How long requests wait while the database is changed, before they get a maintenance page.", None
    )
    keep_replaced: Duration | None = key(
        "How long a database stays on its server after a restore or a migration replaced it.", None
    )
    keep_backups: Count | None = key("How many verified backups are kept at least.", None)
    backup_deadline: SomeTime | None = key("How long a backup may take.", None)
    backup_stall: SomeTime | None = key("A backup from which nothing comes for this long is given up.", None)
    lease: LeaseTime | None = key(
        "How long a deployment keeps the environment without a sign of life from its worker.", None
    )
    backup_checksums: Flag | None = key(
        "Take rows and checksums of every table with a logical backup, which is what a restore is compared with.",
        None,
    )
    rto: SomeTime | None = key("How long a recovery may take; measured by drills.", None)
    rpo: SomeTime | None = key(
        "How much work may be lost; what backups and continuous protection hold.", None
    )
    accept: list[FilledText] = group("Ids of checks whose warnings do not fail a strict environment.", list)
    triggers: Triggers = group("What reverses a release while it bakes.", Triggers)


class Schedule(Section):
    """When `backstay serve` does what; cron expressions of five fields, in UTC, or off."""

    backup: Cron = key("When to back up, whatever the RPO wants besides.", "0 2 * * *")
    restore_drill: Cron = key("When to restore the newest backup into scratch, and measure.", "0 4 1 * *")


class Environment(Section):
    """One place the application runs in. One without any key is all defaults."""

    engine: Engine = key("What runs the components: docker, or process for plain processes.", "docker")
    hosts: Hosts = key("Hosts that run the containers; only [local] in this version.", ["local"])
    network: Network | None = key(
        "An existing network to join; without it, one named APP-ENV is created.", None
    )
    router: Router = group("The router of this environment.", Router)
    secrets: Secrets | None = key("Where secret values come from.", None)
    url: Url | None = key("Address at which people reach the application.", None)
    cors: Cors | None = key("What the CORS smoke test demands of the application.", None)
    notify: list[NotifyUrl] = group(
        "URLs of receivers of notifications, of any kind Apprise knows; kept secret.", list
    )
    policy: Policy = group("How careful to be.", Policy)
    schedule: Schedule = group("When to do what.", Schedule)
    continuous: Flag | None = key("Whether to receive the write-ahead log here; else as database says.", None)
    ports: PortRange = key("Loopback ports that containers are published on.", "20000-20999")
    backups: FilledText | None = key("Folder for this environment's backups; relative to backstay.yml.", None)

    @model_validator(mode="before")
    @classmethod
    def _all_defaults(cls, given: Any) -> Any:
        return {} if given is None else given


class Config(Section):
    """backstay.yml"""

    app: Name = key("Name of the application.")
    components: dict[Name, Component] = key("The parts of the application, by name.", min_length=1)
    routes: list[Route] = key("Which component answers what; the longest path wins.", min_length=1)
    environments: dict[Name, Environment] = key("The places the application runs in, by name.", min_length=1)
    database: Database | None = key("The application's PostgreSQL database.", None)
    smoke: list[Smoke] = group("Requests that must be answered right before and after traffic moves.", list)
    registry: Registry | None = key("Login to the image registry.", None)
    store: FilledText | None = key(
        "State store: a path or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE; $BACKSTAY_STORE goes first."
        " By default a file in the state folder.",
        None,
    )
    backups: FilledText | None = key("Folder that holds a folder of backups per environment.", None)


def validate(data: Any) -> tuple[Config | None, list[dict[str, Any]]]:
    """The configuration, or pydantic's list of faults (`type`, `loc`, `msg`, `ctx`; never the input)."""
    try:
        return Config.model_validate(data), []
    except ValidationError as error:
        return None, [dict(fault) for fault in error.errors(include_url=False, include_input=False)]
