-- SURFACE, workers: what pgflow does about tasks and workers that went missing. Our workers see to that by themselves; a fleet
-- of foreign ones alone needs a sweep from outside, which is what the functions with pg_cron and pg_net are for.

-- Take back the tasks whose workers are lost (maintain.sql); answers with how many go on. What is due becomes ready: foreign
-- workers read what is due of their own flow alone, and what waited for a signal until now is none of their messages.
create or replace function pgflow.requeue_stalled_tasks() returns int
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pgflow.promote_tasks(10000);
  return (select r.requeued from pgflow.reclaim_tasks() r);
end
$$;

create or replace function pgflow.track_worker_function(function_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
begin
  insert into pgflow.worker_functions (function_name, created_at, updated_at)
  values (track_worker_function.function_name, at, at)
  on conflict (function_name) do update set updated_at = excluded.updated_at;
end
$$;

-- Ask over HTTP for every worker that should be there and is not: of enabled functions, those that were not asked for lately
-- and have no worker that beats. A local database (is_local) asks for all of them each time. Without the secrets that name
-- the project nothing is asked. Answers with what was. Locks: worker_functions; what another call holds is skipped.
create or replace function pgflow.ensure_workers()
returns table (function_name text, invoked boolean, request_id bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  ask_all constant boolean := pgflow.is_local();
  site constant text := pgflow.site_of_functions();
  headers constant jsonb := case when ask_all then '{}' else pgflow.headers_of_functions() end;
begin
  invoked := true;
  for function_name in
    select f.function_name from pgflow.worker_functions f
    where f.enabled and site is not null and headers is not null and (ask_all or (
      coalesce(f.last_invoked_at < at - f.debounce, true)
      and not exists (
        select from pgflow.workers w
        where w.function_name = f.function_name and w.stopped_at is null and w.deprecated_at is null
          and w.last_heartbeat_at > at - f.debounce)))
    order by f.function_name for update skip locked
  loop
    request_id := net.http_post(
      url => site || '/functions/v1/' || function_name, headers => headers, body => '{}'::jsonb);
    update pgflow.worker_functions f set last_invoked_at = at where f.function_name = ensure_workers.function_name;
    return next;
  end loop;
end
$$;

create or replace function pgflow.site_of_functions() returns text
language plpgsql as $$
begin
  perform pgflow.need_extension(pgflow.has_function('net', 'http_post'), 'pg_net');
  if pgflow.is_local() then
    return 'http://kong:8000';
  end if;
  perform pgflow.need_extension(to_regclass('vault.decrypted_secrets') is not null, 'supabase_vault');
  return 'https://' || pgflow.secret_named('supabase_project_id') || '.supabase.co';
end
$$;

create or replace function pgflow.headers_of_functions() returns jsonb
language plpgsql as $$
declare
  token constant text := coalesce(
    pgflow.secret_named('pgflow_auth_secret'), pgflow.secret_named('supabase_service_role_key'));
begin
  return case when token is not null then
    jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || token) end;
end
$$;

-- An empty secret is none.
create or replace function pgflow.secret_named(name text) returns text
language plpgsql as $$
begin
  return (select nullif(s.decrypted_secret, '') from vault.decrypted_secrets s where s.name = secret_named.name limit 1);
end
$$;

create or replace function pgflow.setup_requeue_stalled_tasks_cron(cron_interval text default '15 seconds') returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return format('Scheduled pgflow_requeue_stalled_tasks (every %s, job_id=%s)', cron_interval,
    pgflow.schedule_job('pgflow_requeue_stalled_tasks', cron_interval, 'select pgflow.requeue_stalled_tasks()'));
end
$$;

create or replace function pgflow.setup_ensure_workers_cron(cron_interval text default '1 second') returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return format('Scheduled pgflow_ensure_workers (every %s, job_id=%s) and pgflow_cleanup_logs (hourly, job_id=%s)', cron_interval,
    pgflow.schedule_job('pgflow_ensure_workers', cron_interval, 'select pgflow.ensure_workers()'),
    pgflow.schedule_job('pgflow_cleanup_logs', '0 * * * *', 'select pgflow.cleanup_ensure_workers_logs()'));
end
$$;

-- A job of pg_cron. One of this name is replaced.
create or replace function pgflow.schedule_job(name text, at text, command text) returns bigint
language plpgsql as $$
begin
  perform pgflow.need_extension(pgflow.has_function('cron', 'schedule'), 'pg_cron',
    'Install it (1.5 or newer). Where a Stepwell worker runs you need no job: it requeues what stalled by itself.');
  return cron.schedule(name, at, command);
end
$$;

create or replace function pgflow.cleanup_ensure_workers_logs(retention_hours int default 24)
returns table (cron_deleted bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pgflow.need_extension(to_regclass('cron.job_run_details') is not null, 'pg_cron');
  delete from cron.job_run_details d where d.end_time < pgflow.now() - make_interval(hours => retention_hours);
  get diagnostics cron_deleted = row_count;
  return next;
end
$$;

create or replace function pgflow.has_function(schema_name text, function_name text) returns boolean
language sql stable as $$
  select exists (
    select from pg_catalog.pg_proc p
    where p.pronamespace = to_regnamespace(quote_ident(schema_name)) and p.proname = function_name);
$$;

create or replace function pgflow.need_extension(is_there boolean, extension text, hint text default null) returns void
language plpgsql as $$
begin
  if not is_there then
    perform pgflow.raise('0A000', format('%s is not installed in this database', extension), coalesce(hint, 'Install it first.'));
  end if;
end
$$;
