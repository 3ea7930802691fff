// Line drawings on a field of 24 by 24.
const PATHS = {
  menu: 'M4 7h16M4 12h16M4 17h16',
  plus: 'M12 5v14M5 12h14',
  search: 'M16.5 16.5 21 21M18 11a7 7 0 1 1-14 0 7 7 0 0 1 14 0Z',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M13 4.5v5M16 4.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5ZM8 14.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5Z',
  clip: 'm20 11.5-8.2 8.2a5 5 0 0 1-7.1-7.1l8.5-8.5a3.4 3.4 0 0 1 4.8 4.8l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8',
  camera: 'M3 8.5A1.5 1.5 0 0 1 4.5 7H7l1.8-2.5h6.4L17 7h2.5A1.5 1.5 0 0 1 21 8.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5ZM15.5 13a3.5 3.5 0 1 1-7 0 3.5 3.5 0 0 1 7 0Z',
  microphone: 'M12 3.5a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0v-5a3 3 0 0 1 3-3ZM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3',
  bulb: 'M9 17.5h6M10 20.5h4M8.5 14.5a6 6 0 1 1 7 0c-.7.6-.9 1.200-.9 2.900H9.400c0-1.700-.2-2.300-.9-2.900Z',
  up: 'M12 19V6M6 11.5 12 5.5l6 6',
  stop: 'M7.5 7.5h9v9h-9z',
  copy: 'M9 9h10.5v10.5H9zM15 9V4.5H4.5V15H9',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  edit: 'M4.5 19.5l1-4.5L16 4.5l3.5 3.5L9 18.5Z',
  again: 'M19 6v5h-5M18.6 11a7 7 0 1 0 .2 4.5',
  left: 'm14.5 6-6 6 6 6',
  right: 'm9.5 6 6 6-6 6',
  close: 'm6 6 12 12M18 6 6 18',
  trash: 'M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.400L17 7M10.5 10.5v5.5M13.5 10.5v5.5',
  down: 'M12 4.5v11M7 11l5 5 5-5M5 19.5h14',
  film: 'M4 5h16v14H4zM8.5 5v14M15.5 5v14M4 9.5h4.5M4 14.5h4.5M15.5 9.5H20M15.5 14.5H20',
  sound: 'M4 10v4M8 7v10M12 4.5v15M16 8v8M20 10.5v3',
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d={PATHS[name]} /></svg>
  );
}
