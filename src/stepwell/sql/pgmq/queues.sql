-- QUEUES: a plain queue is two tables of its own, for its messages and for its archive. A flow's queue is views of its tasks,
-- made by pgflow.expose_flow. Names are data; what a relation is called is in meta. Locks: what makes and drops queues takes
-- turns, name by name.

create or replace function pgmq.create(queue_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pgmq.make_queue($1, false);        -- `create` is no name to SQL
end
$$;

-- Faster, and empty after a crash of the server.
create or replace function pgmq.create_unlogged(queue_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pgmq.make_queue(create_unlogged.queue_name, true);
end
$$;

create or replace function pgmq.create_non_partitioned(queue_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pgmq.make_queue(create_non_partitioned.queue_name, false);
end
$$;

-- A queue that exists, also that of a flow, stays as it is.
create or replace function pgmq.make_queue(name text, unlogged boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  kind constant text := case when unlogged then 'unlogged ' else '' end;
  relation text;
begin
  perform pgmq.check_queue_name(name);
  if exists (select from pgmq.meta m where m.queue_name = name) then
    return;
  end if;
  perform pgflow.hold_queue(name);
  if exists (select from pgmq.meta m where m.queue_name = name) then
    return;                                  -- somebody was faster
  end if;
  relation := pgmq.free_relation(name);
  execute format($sql$
    create %1$stable pgmq.%2$I (
      msg_id bigint primary key generated always as identity,
      read_ct int not null default 0,
      enqueued_at timestamptz not null default now(),
      vt timestamptz not null,
      message jsonb,
      headers jsonb
    );
    create index on pgmq.%2$I (vt);
    create %1$stable pgmq.%3$I (
      msg_id bigint primary key,
      read_ct int not null default 0,
      enqueued_at timestamptz not null default now(),
      archived_at timestamptz not null default now(),
      vt timestamptz not null,
      message jsonb,
      headers jsonb
    );
    create index %4$I on pgmq.%3$I (archived_at)
  $sql$, kind, 'q_' || relation, 'a_' || relation, 'archived_at_idx_' || relation);
  insert into pgmq.meta (queue_name, is_unlogged, created_at, relation) values (name, unlogged, pgflow.now(), relation);
end
$$;

-- False, with a notice: there is no such queue.
create or replace function pgmq.drop_queue(queue_name text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue pgmq.meta;
begin
  perform pgflow.hold_queue(drop_queue.queue_name);
  queue := pgmq.plain_queue(drop_queue.queue_name, 'drop', 'Delete the flow: pgflow.delete_flow_and_data().');
  if queue.relation is null then
    raise notice 'there is no queue %', quote_literal(drop_queue.queue_name);
    return false;
  end if;
  execute format('drop table pgmq.%I, pgmq.%I', 'q_' || queue.relation, 'a_' || queue.relation);
  delete from pgmq.notify_insert_throttle n where n.queue_name = queue.queue_name;
  delete from pgmq.meta m where m.queue_name = queue.queue_name;
  return true;
end
$$;

create or replace function pgmq.list_queues() returns setof pgmq.queue_record
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at from pgmq.meta m order by m.queue_name;
end;

-- The relation of a queue; of an unknown one, what it would be called if nobody was in the way.
create or replace function pgmq.format_table_name(queue_name text, prefix text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  perform pgmq.check_queue_name(format_table_name.queue_name);
  return lower(prefix) || '_' || coalesce(
    (pgmq.queue_named(format_table_name.queue_name)).relation, pgmq.relation_for(format_table_name.queue_name));
end
$$;

-- By its name; else, as pgmq does not tell them apart, by a name that differs in case alone.
create or replace function pgmq.queue_named(name text) returns pgmq.meta
language sql stable set search_path = pg_catalog, pg_temp as $$
  select m from pgmq.meta m where m.queue_name = name or m.relation = lower(name)
  order by m.queue_name = name desc limit 1;
$$;

-- A queue that is no flow's; nulls where there is none.
create or replace function pgmq.plain_queue(name text, wish text, hint text) returns pgmq.meta
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.queue_named(name);
begin
  if queue.flow_slug is not null then
    perform pgflow.raise('PF409',
      format('queue %L is that of flow %L, whose tasks are its messages: pgmq cannot %s it', queue.queue_name, queue.flow_slug, wish),
      hint);
  end if;
  return queue;
end
$$;

create or replace function pgmq.check_queue_name(name text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  if name is null or name = '' or length(name) > 128 then
    perform pgflow.raise('PF422', format('a queue name has 1 to 128 characters, unlike %L', name));
  end if;
  if name ~ '[$;'']|--' then
    perform pgflow.raise('PF422', format('a queue name has no $, ;, -- or '' in it, unlike %L', name));
  end if;
end
$$;

-- Names of relations and of their indexes must fit into 63 bytes: what is longer keeps its front and gets a hash.
create or replace function pgmq.relation_for(name text, hashed boolean default false) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when hashed or octet_length(lower(name)) > 47
    then pgmq.front_of(lower(name), 38) || '_' || left(md5(name), 8) else lower(name) end;
$$;

-- As many whole characters as fit into so many bytes.
create or replace function pgmq.front_of(name text, bytes int) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select left(name, coalesce(max(n), 0)) from generate_series(1, least(length(name), bytes)) n
  where octet_length(left(name, n)) <= bytes;
$$;

-- A relation that no other queue has: names that differ in case alone have relations of their own.
create or replace function pgmq.free_relation(name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select pgmq.relation_for(name, exists (select from pgmq.meta m where m.relation = pgmq.relation_for(name))
    or to_regclass(format('pgmq.%I', 'q_' || pgmq.relation_for(name))) is not null);
$$;
